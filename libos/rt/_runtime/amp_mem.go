package runtime

import "unsafe"

// The RAM window is one range of addresses that is mapped from boot on. The
// heap's arenas grow up from its start and everything else that the runtime
// asks for (metadata, in 4 KiB steps) grows down from its end; where they meet,
// memory is out. Nothing is ever given back: what the runtime frees it keeps
// in lists of its own, and madvise has no one to advise.
var (
	ampHeapLow  uintptr
	ampHeapHigh uintptr // end of the arena memory handed out
	ampMetaLow  uintptr // start of the metadata handed out
	ampArena    bool    // the arena reservation has been made
	ampRefused  bool    // memory ran out
)

const (
	ampENOENT = ^uintptr(2 - 1)
	ampEBADF  = ^uintptr(9 - 1)
	ampENOMEM = ^uintptr(12 - 1)
	ampENOSYS = ^uintptr(38 - 1)
)

// ampMmap serves mmap as the runtime uses it (mem_linux.go): reservations of
// address space for arenas, committing parts of them, and plain anonymous
// memory.
//
//go:nosplit
func ampMmap(addr, n, prot, flags uintptr) uintptr {
	n = (n + ampPageSize - 1) &^ (ampPageSize - 1)
	switch {
	case n == 0 || n > 1<<40:
		return ampENOMEM
	case flags&_MAP_FIXED == 0 && addr != 0: // a hint: only inside the window
		if addr < ampBoot.Window || addr >= ampBoot.Window+1<<35 {
			return ampENOMEM
		}
		return addr
	case addr == 0 && prot == _PROT_NONE && n >= heapArenaBytes:
		if ampArena { // the runtime goes on by hints
			return ampENOMEM
		}
		ampArena = true
		return ampBoot.Window
	case addr == 0:
		if n > ampMetaLow-ampHeapHigh {
			ampRefused = true
			return ampENOMEM
		}
		ampMetaLow -= n
		memclrNoHeapPointers(unsafe.Pointer(ampMetaLow), n)
		return ampMetaLow
	}
	return ampCommit(addr, n, prot)
}

// ampCommit makes part of a reservation usable.
//
//go:nosplit
func ampCommit(addr, n, prot uintptr) uintptr {
	if addr < ampBoot.Window || addr+n < addr {
		return ampENOMEM
	}
	if prot == _PROT_NONE {
		return addr
	}
	if addr >= ampMetaLow && addr+n <= ampBoot.WindowEnd { // inside metadata
		memclrNoHeapPointers(unsafe.Pointer(addr), n)
		return addr
	}
	if addr+n > ampMetaLow {
		ampRefused = true
		return ampENOMEM
	}
	if addr+n > ampHeapHigh {
		ampHeapHigh = addr + n
	}
	memclrNoHeapPointers(unsafe.Pointer(addr), n)
	return addr
}
