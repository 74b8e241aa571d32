package xen

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ampoule/tools/xenrig/rig"
)

// diskGuest is the domain that keeps a store on a disk, which is a file in dom0
// behind Linux's blkback.
const diskGuest = "disk"

// createDisk makes the domain.
func (h *host) createDisk(image, command string) {
	h.t.Helper()
	h.must("create", h.Create(h.t.Context(), diskGuest, rig.Guest{Image: image, Memory: 32, Cmdline: command, ShadowMemory: 8,
		Config: []string{loopDisk(0)}}))
}

// diskLine waits for a line of the guest.
func (h *host) diskLine(line string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	l, err := h.WaitLog(ctx, diskGuest, regexp.MustCompile(line))
	h.must(line, err)
	return l
}

// stored is the last generation that the guest has reported.
func (h *host) stored() int {
	h.t.Helper()
	log, err := h.GuestLog(h.t.Context(), diskGuest)
	h.must("log", err)
	last := 0
	for l := range strings.Lines(log) {
		l = strings.TrimSpace(l)
		if i := strings.Index(l, "error:"); i >= 0 {
			h.t.Fatalf("the guest says %q", l)
		}
		if _, v, ok := strings.Cut(l, "stored "); ok {
			if n, err := strconv.Atoi(v); err == nil {
				last = max(last, n)
			}
		}
	}
	return last
}

// disk: a store survives xl destroy amid commits, and commits go on through save
// and restore.
func disk(h *host) {
	image := h.program("ampoule/boot/guests/disk")
	_, err := h.Run(h.t.Context(), 30*time.Second, "dd if=/dev/zero of=/run/disk.img bs=1M count=4 && losetup /dev/loop0 /run/disk.img")
	h.must("loop device", err)
	h.createDisk(image, "")
	h.diskLine("found 0")
	h.diskLine("stored 1")
	h.xl("destroy", diskGuest)

	h.createDisk(image, "load=commit")
	h.diskLine("found 1")
	h.diskLine("consistent")
	h.diskLine("stored 5")
	h.xl("save", diskGuest, "/run/disk.save")
	before := h.stored()
	h.xl("restore", "/run/disk.save")
	for end := time.Now().Add(60 * time.Second); h.stored() < before+10; time.Sleep(500 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("generation %d before the save, %d a minute after it", before, h.stored())
		}
	}
	h.xl("destroy", diskGuest)
	last := h.stored()

	h.createDisk(image, "")
	found := h.diskLine("found [0-9]+")
	n, err := strconv.Atoi(found[strings.LastIndexByte(found, ' ')+1:])
	if err != nil || n < last {
		h.t.Errorf("generation %d was stored, the next start says %q", last, found)
	}
	h.diskLine("consistent")
	h.xl("destroy", diskGuest)
	h.t.Logf("generation %d at the save, %d at the end", before, n)
	_, err = h.Run(h.t.Context(), 30*time.Second, "losetup -d /dev/loop0; rm -f /run/disk.img /run/disk.save")
	h.must("clean up", err)
}
