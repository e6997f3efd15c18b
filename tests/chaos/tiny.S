# The guest of the chaos tests: a boot sector that a firmware starts within a second or two.
#
# It counts its boots in the second sector of its disk (8 bytes of magic, then 4 of the count),
# prints `boot <count in hex>` on the first serial port, then a dot about ten times a second, and
# powers off when the power button is pressed. A disk that cannot be read or written, or has no
# magic, makes it print `disk error` and stand still.
#
# Built into tiny.bin, which lies beside, by:
#   as --32 tiny.S -o tiny.o
#   ld -m elf_i386 -Ttext=0x7c00 --oformat binary tiny.o -o tiny.bin

.set SERIAL,     0x3f8
.set PM1_STATUS, 0x600          # where SeaBIOS puts the power management ports of `q35`
.set PM1_ENABLE, 0x602
.set PM1_CONTROL, 0x604
.set POWER_BUTTON, 0x100
.set POWER_OFF,  0x2000         # SLP_EN, and S5 is sleep type 0
.set TICKS,      0x46c          # the firmware's clock, 18.2 a second
.set SECTOR,     0x8000

        .text
        .code16
        .globl  _start
_start: cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive
        movb    $0x42, %ah              # read
        call    disk
        cmpl    $0x57414c43, SECTOR     # "CLAW"
        jne     broken
        incl    SECTOR + 8
        movw    $0x4300, %ax            # write
        call    disk
        movw    $booted, %si
        call    print
        movl    SECTOR + 8, %ebx
        movw    $8, %cx
1:      roll    $4, %ebx
        movb    %bl, %al
        andb    $15, %al
        cmpb    $10, %al
        sbbb    $0x69, %al              # a nibble as its hexadecimal digit
        das
        call    put
        loop    1b
        movb    $'\n', %al
        call    put
        movw    $PM1_ENABLE, %dx
        movw    $POWER_BUTTON, %ax
        outw    %ax, %dx
wait:   movl    TICKS, %ebx
        addl    $2, %ebx
2:      hlt
        movw    $PM1_STATUS, %dx
        inw     %dx, %ax
        testw   $POWER_BUTTON, %ax
        jnz     off
        cmpl    %ebx, TICKS
        jb      2b
        movb    $'.', %al
        call    put
        jmp     wait
off:    movw    $PM1_CONTROL, %dx
        movw    $POWER_OFF, %ax
        outw    %ax, %dx
        jmp     stand

disk:   movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        jc      broken
        ret
broken: movw    $error, %si
        call    print
stand:  hlt
        jmp     stand

print:  lodsb
        testb   %al, %al
        jz      1f
        call    put
        jmp     print
put:    movw    $SERIAL, %dx
        outb    %al, %dx
1:      ret

booted: .asciz  "boot "
error:  .asciz  "disk error\n"
drive:  .byte   0
        .balign 4
packet: .byte   16, 0                   # one sector, number 1, to SECTOR (int 13h extensions)
        .word   1, SECTOR, 0
        .quad   1
        .org    510
        .word   0xaa55
