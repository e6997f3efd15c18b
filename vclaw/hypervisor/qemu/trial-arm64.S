// The guest of the acceleration trial for arm64: runs on its own processor, then powers off.
//
// A flat image with the header of an arm64 Linux kernel (Documentation/arch/arm64/booting.rst),
// which QEMU's `virt` machine loads with -kernel. It counts down from 10^8, which takes well under
// a second unless every step is emulated, turns every other processor on by PSCI CPU_ON and waits
// until all have counted too, then ends by PSCI SYSTEM_OFF. The number of processors is the first
// MPIDR that CPU_ON refuses.
//
// Nothing here waits with a limit of its own: whoever runs it holds the clock.
//
// Built into trial-arm64.bin, which is shipped, by:
//   aarch64-linux-gnu-as trial-arm64.S -o trial.o
//   aarch64-linux-gnu-objcopy -O binary trial.o trial-arm64.bin

        .text
header: b       start
        .long   0
        .quad   0, 0x1000, 0xa          // offset, size, flags: little endian, 4 KiB pages
        .quad   0, 0, 0
        .ascii  "ARM\x64"
        .long   0

start:  bl      count
        mov     w19, #0                 // processors turned on
1:      add     w1, w19, #1
        and     w2, w1, #0xf            // MPIDR as `virt` numbers them: 16 to a cluster
        lsr     w3, w1, #4
        orr     w1, w2, w3, lsl #8
        ldr     w0, cpu_on
        adr     x2, secondary
        mov     x3, #0
        hvc     #0
        cbnz    w0, 2f
        add     w19, w19, #1
        b       1b
2:      adr     x4, finished
3:      ldar    w5, [x4]
        cmp     w5, w19
        b.ne    3b
        ldr     w0, system_off
        hvc     #0
4:      b       4b

secondary:
        bl      count
        adr     x4, finished
5:      ldaxr   w5, [x4]
        add     w5, w5, #1
        stlxr   w6, w5, [x4]
        cbnz    w6, 5b
6:      wfi
        b       6b

count:  ldr     w9, rounds
7:      subs    w9, w9, #1
        b.ne    7b
        ret

        .balign 4
rounds:     .long 100000000
cpu_on:     .long 0xc4000003
system_off: .long 0x84000008
finished:   .long 0
