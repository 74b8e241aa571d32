// What both gates' assembly has in common.

#define D(f) const_dataAddr+f
#define STAC BYTE $0x0f; BYTE $0x01; BYTE $0xcb
#define CLAC BYTE $0x0f; BYTE $0x01; BYTE $0xca
#define SYSRETQ BYTE $0x48; BYTE $0x0f; BYTE $0x07

// The end of a blob, by which Blob knows it: another symbol would lie elsewhere
// once the linker has shuffled the functions. It is never executed.
#define ENDMARK BYTE $0x0f; BYTE $0x0b; BYTE $'g'; BYTE $'a'; BYTE $'t'; BYTE $'e'; BYTE $' '; BYTE $'e'; BYTE $'n'; BYTE $'d'

// Vector stubs, 16 bytes apart; E is for exceptions that push an error code.
// The pushes are spelt in bytes, or the assembler would add them all up.
#define PUSHB(v) BYTE $0x6a; BYTE $v
#define STUB(v) PUSHB(0); PUSHB(v); JMP common; PCALIGN $16
#define STUBE(v) PUSHB(v); JMP common; PCALIGN $16
