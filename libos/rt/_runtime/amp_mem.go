package runtime

import "unsafe"

// The RAM window is one range of addresses that is mapped from boot on. The
// heap's arenas grow up from its start and everything else that the runtime
// asks for (metadata, in 4 KiB steps) grows down from its end; where they meet,
// memory is out. Heap memory is never given back: the runtime keeps it in lists
// of its own, and madvise has no one to advise. Metadata is: the collector
// frees and makes its work queues again as long as the VM lives.
var (
	arenaBaseOffset uintptr // address of the heap's first arena; boot sets it

	ampFree     [32]ampRange // metadata that munmap gave back, by address, no two neighbours
	ampFrees    int
	ampKept     ampRange // for when there is no other metadata
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
	case flags&_MAP_FIXED == 0 && addr != 0: // a hint: only for what comes behind the first arena
		if !ampArena || addr < ampBoot.Window || addr >= ampBoot.Window+1<<35 {
			return ampENOMEM
		}
		return addr
	case addr == 0 && prot == _PROT_NONE && n >= heapArenaBytes:
		if ampArena { // the runtime goes on by hints
			return ampENOMEM
		}
		ampArena = true
		return arenaBaseOffset
	case addr == 0:
		if p := ampReuse(n); p != 0 {
			memclrNoHeapPointers(unsafe.Pointer(p), n)
			return p
		}
		if n > ampMetaLow-ampHeapHigh {
			return ampLastMeta(n)
		}
		ampMetaLow -= n
		if prot != _PROT_NONE { // or it is cleared when it is committed
			memclrNoHeapPointers(unsafe.Pointer(ampMetaLow), n)
		}
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
	return addr // not cleared: an edit has the heap clear what it takes (edits.go)
}

// ampReserve keeps a part of the window for metadata, 1/64 of it: the heap grows by 4 MiB
// and may leave next to nothing, and the collector dies when it gets no 256 KiB for lists
// of what it has swept.
//
//go:nosplit
func ampReserve() {
	n := (ampBoot.WindowEnd - ampBoot.Window) / 64 &^ (ampPageSize - 1)
	ampMetaLow -= n
	ampKept = ampRange{ampMetaLow, n}
}

// ampLastMeta takes n bytes of what is kept.
//
//go:nosplit
func ampLastMeta(n uintptr) uintptr {
	p := ampKept.addr
	if n > ampKept.n {
		ampRefused = true
		return ampENOMEM
	}
	ampKept.addr += n
	ampKept.n -= n
	memclrNoHeapPointers(unsafe.Pointer(p), n)
	return p
}

// ampRange is n bytes at addr.
type ampRange struct{ addr, n uintptr }

// ampReuse takes n bytes from what was given back, 0 if no piece is that large.
//
//go:nosplit
func ampReuse(n uintptr) uintptr {
	for i := 0; i < ampFrees; i++ {
		r := &ampFree[i]
		if r.n < n {
			continue
		}
		p := r.addr
		r.addr += n
		if r.n -= n; r.n == 0 {
			ampForget(i)
		}
		return p
	}
	return 0
}

// ampMunmap takes back metadata. What does not fit the list is lost, which
// costs memory and nothing else; address space of the heap stays the heap's.
//
//go:nosplit
func ampMunmap(addr, n uintptr) {
	n = (n + ampPageSize - 1) &^ (ampPageSize - 1)
	if addr < ampMetaLow || n == 0 || addr+n > ampBoot.WindowEnd || addr+n < addr {
		return
	}
	i := 0
	for i < ampFrees && ampFree[i].addr < addr {
		i++
	}
	switch {
	case i > 0 && ampFree[i-1].addr+ampFree[i-1].n > addr || i < ampFrees && addr+n > ampFree[i].addr:
		ampDie(ampExitOSFault, "metadata freed twice at", addr)
	case i > 0 && ampFree[i-1].addr+ampFree[i-1].n == addr:
		i--
		ampFree[i].n += n
		if i+1 < ampFrees && addr+n == ampFree[i+1].addr {
			ampFree[i].n += ampFree[i+1].n
			ampForget(i + 1)
		}
	case i < ampFrees && addr+n == ampFree[i].addr:
		ampFree[i].addr = addr
		ampFree[i].n += n
	case ampFrees < len(ampFree):
		for k := ampFrees; k > i; k-- {
			ampFree[k] = ampFree[k-1]
		}
		ampFree[i] = ampRange{addr, n}
		ampFrees++
	default:
		return
	}
	if ampFrees > 0 && ampFree[0].addr == ampMetaLow {
		ampMetaLow += ampFree[0].n
		ampForget(0)
	}
}

// ampForget removes entry i.
//
//go:nosplit
func ampForget(i int) {
	ampFrees--
	for ; i < ampFrees; i++ {
		ampFree[i] = ampFree[i+1]
	}
}
