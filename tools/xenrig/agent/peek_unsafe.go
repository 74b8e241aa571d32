package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

const pageSize = 4096

// batch is struct privcmd_mmapbatch_v2 of Linux (xen/privcmd.h), and mmapBatch
// the ioctl that takes it.
type batch struct {
	num  uint32
	dom  uint16
	_    uint16
	addr uint64
	arr  uint64 // of frame numbers
	err  uint64 // of an int32 for each
}

const mmapBatch = unsafe.Sizeof(batch{})<<16 | 'P'<<8 | 4

var _ [32]byte = [unsafe.Sizeof(batch{})]byte{}

// peek DOMAIN FIRST COUNT writes guest frames as they are in memory, whether or
// not the guest runs: a domain that is privileged, as dom0 is, may map them. A
// frame that there is not is one of zeros.
func peek(args []string, w io.Writer) error {
	var n [3]uint64
	if len(args) != len(n) {
		return errors.New("want peek DOMAIN FIRST COUNT")
	}
	for i, a := range args {
		var err error
		if n[i], err = strconv.ParseUint(a, 0, 48); err != nil {
			return err
		}
	}
	f, err := os.OpenFile("/dev/xen/privcmd", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	const most = 256
	found := false
	for first, left := n[1], n[2]; left > 0; {
		k := min(left, most)
		some, err := peekBatch(f, w, uint16(n[0]), first, int(k))
		if err != nil {
			return fmt.Errorf("frames from %#x of domain %d: %w", first, n[0], err)
		}
		found = found || some
		first, left = first+k, left-k
	}
	if !found {
		return fmt.Errorf("domain %d has none of these frames", n[0])
	}
	return nil
}

// peekBatch maps n frames, writes them, and says whether there was any.
func peekBatch(f *os.File, w io.Writer, dom uint16, first uint64, n int) (found bool, err error) {
	mem, err := syscall.Mmap(int(f.Fd()), 0, n*pageSize, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return false, err
	}
	defer syscall.Munmap(mem)
	frames, errs := make([]uint64, n), make([]int32, n)
	for i := range frames {
		frames[i] = first + uint64(i)
	}
	// The kernel uses the three addresses during the call only, in which all are
	// kept alive.
	b := batch{num: uint32(n), dom: dom, addr: uint64(uintptr(unsafe.Pointer(&mem[0]))),
		arr: uint64(uintptr(unsafe.Pointer(&frames[0]))), err: uint64(uintptr(unsafe.Pointer(&errs[0])))}
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), mmapBatch, uintptr(unsafe.Pointer(&b)))
	runtime.KeepAlive(frames)
	runtime.KeepAlive(errs)
	if e != 0 && e != syscall.ENOENT {
		return false, e
	}
	zeros := make([]byte, pageSize)
	for i := range frames {
		page := zeros
		if errs[i] == 0 {
			page, found = mem[i*pageSize:][:pageSize], true
		}
		if _, err := w.Write(page); err != nil {
			return found, err
		}
	}
	return found, nil
}
