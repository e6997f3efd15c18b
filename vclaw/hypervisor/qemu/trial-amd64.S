# The guest of the acceleration trial: does, on every processor, what a 64-bit kernel does early.
#
# A multiboot image (loaded flat at 1 MiB, entered in 32-bit protected mode) that QEMU runs with
# -kernel. Every processor enters long mode with paging (L), counts down from 10^8 (S), checks
# CPUID, MSRs, the time stamp counter and SSE (M), runs at a high address (H), takes a page fault
# that maps a page and is retried (P), sleeps in HLT until its local APIC timer interrupts it (T),
# visits ring 3 and returns by SYSCALL (U). The boot processor then wakes the others by
# INIT-SIPI-SIPI, and ends the trial (K passed, X failed) through isa-debug-exit at port 0xf4.
# Each stage prints its letter on port 0xe9: capitals are the boot processor's, small letters the
# others'.
#
# Nothing here waits with a limit of its own: whoever runs it holds the clock.
#
# Built into trial-amd64.bin, which is shipped, by:
#   as --64 trial-amd64.S -o trial.o
#   ld -m elf_x86_64 -Ttext=0x100000 --oformat binary trial.o -o trial-amd64.bin

.set PASSED,     0x2a           # QEMU's exit status: (0x2a << 1) | 1 = 85
.set FAILED,     0x15           # 43
.set LOAD,       0x100000
.set PML4,       0x110000       # page tables, then the IDT: cleared and filled at run time
.set PDPT,       0x111000
.set PD,         0x112000       # four pages: 4 GiB in pages of 2 MiB
.set IDT,        0x116000
.set TABLES_END, 0x117000
.set STACKS,     0x200000       # 4 KiB for each processor
.set TRAMPOLINE, 0x8000         # where a start-up IPI makes a processor begin, in real mode
.set HIGH_HALF,  0xffff800000000000
.set APIC,       0xfee00000
.set MAGIC,      0x7663616c77213634

.set CODE32, 0x08
.set DATA32, 0x10
.set CODE64, 0x18               # SYSCALL wants the stack's segment right after the code's
.set DATA64, 0x20
.set USER_DATA, 0x2b
.set USER_CODE, 0x33

.macro stage letter             # r12b is 0 on the boot processor, 0x20 on the others
        movb    $\letter, %al
        orb     %r12b, %al
        outb    %al, $0xe9
.endm

        .text
        .globl  _start
header: .long   0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
        .long   header, LOAD, 0, TABLES_END, _start

        .code32
_start: cli
        cld
        movl    $PML4, %edi
        movl    $(TABLES_END - PML4) / 4, %ecx
        xorl    %eax, %eax
        rep stosl
        movl    $trampoline, %esi
        movl    $TRAMPOLINE, %edi
        movl    $trampoline_end - trampoline, %ecx
        rep movsb
        # The first 4 GiB twice: at 0, and at the start of the high half.
        movl    $PDPT + 7, PML4
        movl    $PDPT + 7, PML4 + 256 * 8
        movl    $PD + 0x0007, PDPT
        movl    $PD + 0x1007, PDPT + 8
        movl    $PD + 0x2007, PDPT + 16
        movl    $PD + 0x3007, PDPT + 24
        movl    $0x87, %eax             # present, writable, for ring 3 too, 2 MiB
        movl    $PD, %edi
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        jnc     1b
        movb    $'B', %al
        outb    %al, $0xe9
        lgdt    gdtr
        xorl    %ebp, %ebp
        ljmp    $CODE32, $enter_long

ap_protected:
        movl    $0x20, %ebp
enter_long:
        movw    $DATA32, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    %cr4, %eax
        orl     $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
        movl    %eax, %cr4
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER
        rdmsr
        orl     $0x101, %eax            # LME, SCE
        wrmsr
        movl    %cr0, %eax
        andl    $0x9ffffffb, %eax       # caches on, no FPU emulation
        orl     $0x80010003, %eax       # PG, WP, MP, PE
        movl    %eax, %cr0
        ljmp    $CODE64, $long_mode

        .code64
long_mode:
        movl    %ebp, %r12d
        movl    $DATA64, %eax
        movl    %eax, %ss
        movl    $1, %ebx
        lock xaddl %ebx, started        # ebx: this processor's number
        movl    %ebx, %eax
        shll    $12, %eax
        leaq    STACKS + 0x1000(%rax), %rsp
        stage   'L'
        testl   %r12d, %r12d
        jnz     1f
        call    fill_idt
1:      lidt    idtr
        movl    $100000000, %ecx        # well under a second, unless every step is emulated
3:      decl    %ecx
        jnz     3b
        stage   'S'
        call    processor_state
        stage   'M'
        call    high_half
        stage   'H'
        call    page_fault
        stage   'P'
        call    timer
        stage   'T'
        call    ring3
        stage   'U'
        lock incl finished
        testl   %r12d, %r12d
        jz      wake_others
2:      hlt
        jmp     2b

wake_others:
        movw    $0x510, %dx             # QEMU's fw_cfg, item 5: the number of processors
        movw    $5, %ax
        outw    %ax, %dx
        incl    %edx
        xorl    %eax, %eax
        inb     %dx, %al
        movb    %al, %bl
        inb     %dx, %al
        movb    %al, %bh
        movzwl  %bx, %ebx
        cmpl    $1, %ebx
        je      passed
        movl    $APIC, %esi
        movl    $0x000c4500, 0x300(%rsi)                        # INIT to all but self
        call    delay
        movl    $0x000c4600 + (TRAMPOLINE >> 12), 0x300(%rsi)   # start-up, twice
        call    delay
        movl    $0x000c4600 + (TRAMPOLINE >> 12), 0x300(%rsi)
1:      pause
        cmpl    %ebx, finished
        jne     1b
passed: stage   'K'
        movl    $PASSED, %eax
        jmp     leave
failed: stage   'X'
        movl    $FAILED, %eax
leave:  outl    %eax, $0xf4
1:      hlt
        jmp     1b

delay:  movl    $10000, %ecx            # some 10 ms: every access to port 0x80 leaves the guest
1:      outb    %al, $0x80
        loop    1b
        ret

fill_idt:
        movb    $0xff, %al              # the two old interrupt controllers stay silent
        outb    %al, $0x21
        outb    %al, $0xa1
        xorl    %edi, %edi
1:      movl    $failed, %eax
        call    set_gate
        incl    %edi
        cmpl    $32, %edi
        jne     1b
        movl    $14, %edi
        movl    $on_page_fault, %eax
        call    set_gate
        movl    $0x40, %edi
        movl    $on_timer, %eax
        call    set_gate
        movl    $0xff, %edi
        movl    $on_spurious, %eax
set_gate:                               # edi: vector, eax: handler, below 4 GiB
        movl    %edi, %edx
        shll    $4, %edx
        movw    %ax, IDT(%rdx)
        movw    $CODE64, IDT + 2(%rdx)
        shrl    $16, %eax
        movw    $0x8e00, IDT + 4(%rdx)
        movw    %ax, IDT + 6(%rdx)
        ret

processor_state:
        pushq   %rbx
        movl    $0x80000001, %eax
        cpuid
        btl     $29, %edx               # long mode
        jnc     failed
        xorl    %eax, %eax
        cpuid
        movl    $1, %eax
        cpuid
        popq    %rbx
        movl    $0xc0000080, %ecx       # EFER: LMA must have come on
        rdmsr
        btl     $10, %eax
        jnc     failed
        wrmsr
        movl    $0x1b, %ecx             # APIC base: enabled, at its usual address
        rdmsr
        btl     $11, %eax
        jnc     failed
        wrmsr
        rdtsc
        shlq    $32, %rdx
        orq     %rax, %rdx
        movq    %rdx, %rsi
        movl    $1000, %ecx
1:      pause
        loop    1b
        rdtsc
        shlq    $32, %rdx
        orq     %rax, %rdx
        cmpq    %rsi, %rdx
        jbe     failed
        movq    magic, %xmm0
        movq    %xmm0, %rax
        cmpq    magic, %rax
        jne     failed
        movq    %cr4, %rax              # flush the TLB as kernels do: PGE on and off
        xorq    $0x80, %rax
        movq    %rax, %cr4
        xorq    $0x80, %rax
        movq    %rax, %cr4
        ret

high_half:
        movabsq $HIGH_HALF, %rdx
        leaq    1f(%rdx), %rax
        jmp     *%rax
1:      leaq    (%rip), %rax            # here rip is a high address
2:      btq     $63, %rax
        jnc     failed
        movq    magic(%rdx), %rcx
        movabsq $MAGIC, %rsi
        cmpq    %rsi, %rcx
        jne     failed
        movl    $3f, %eax
        jmp     *%rax
3:      ret

page_fault:                             # reads `magic` in a GiB of its own that is not mapped
        leal    5(%rbx), %eax
        shlq    $30, %rax
        xorl    %r14d, %r14d
        movq    magic(%rax), %rcx
        cmpl    $1, %r14d
        jne     failed
        movabsq $MAGIC, %rsi
        cmpq    %rsi, %rcx
        jne     failed
        invlpg  magic(%rax)
        cmpq    %rsi, magic(%rax)
        jne     failed
        ret

on_page_fault:
        pushq   %rax
        movq    %cr2, %rax
        shrq    $30, %rax
        cmpl    $511, %eax
        ja      failed
        movq    $PD + 7, PDPT(, %rax, 8)
        incl    %r14d
        popq    %rax
        addq    $8, %rsp                # the error code
        iretq

timer:
        movl    $APIC, %esi
        xorl    %r14d, %r14d
        movl    $0x1ff, 0xf0(%rsi)      # on; spurious interrupts are vector 0xff
        movl    $0, 0x80(%rsi)          # every priority may interrupt
        movl    $0xb, 0x3e0(%rsi)       # count at the full rate
        movl    $0x40, 0x320(%rsi)      # once, vector 0x40
        movl    $1000000, 0x380(%rsi)
1:      cli
        testl   %r14d, %r14d
        jnz     2f
        sti
        hlt
        jmp     1b
2:      ret

on_timer:
        incl    %r14d
        movl    $0, 0xb0(%rsi)          # end of interrupt
on_spurious:
        iretq

ring3:
        movl    $0xc0000081, %ecx       # STAR
        xorl    %eax, %eax
        movl    $(CODE64 + ((USER_DATA - 8) << 16)), %edx
        wrmsr
        incl    %ecx                    # LSTAR
        movl    $on_syscall, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0xc0000084, %ecx       # FMASK: interrupts stay off
        movl    $0x200, %eax
        wrmsr
        movl    $0xc0000101, %ecx       # GS base
        movl    $magic, %eax
        wrmsr
        incl    %ecx                    # kernel GS base
        xorl    %eax, %eax
        wrmsr
        swapgs
        movq    %rsp, %r13
        pushq   $USER_DATA
        pushq   %r13
        pushq   $2                      # flags
        pushq   $USER_CODE
        pushq   $1f
        iretq
1:      movl    %cs, %r14d              # in ring 3
        syscall
        jmp     failed
on_syscall:
        movq    %r13, %rsp
        swapgs
        movl    %cs, %eax
        cmpl    $CODE64, %eax
        jne     failed
        cmpl    $USER_CODE, %r14d
        jne     failed
        movabsq $MAGIC, %rsi
        cmpq    %rsi, %gs:0
        jne     failed
        ret

        .code16
trampoline:
        cli
        movw    %cs, %ax
        movw    %ax, %ds
        lgdtl   gdtr - trampoline
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $CODE32, $ap_protected
        .balign 4
gdtr:   .word   gdt_end - gdt - 1
        .long   gdt
trampoline_end:

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff      # CODE32
        .quad   0x00cf93000000ffff      # DATA32
        .quad   0x00af9b000000ffff      # CODE64
        .quad   0x00cf93000000ffff      # DATA64
        .quad   0x00cff3000000ffff      # USER_DATA
        .quad   0x00affb000000ffff      # USER_CODE
gdt_end:
idtr:   .word   0xfff
        .quad   IDT
        .balign 8
magic:  .quad   MAGIC
started:  .long 0
finished: .long 0
