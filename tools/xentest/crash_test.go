package xen

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/tools/xenrig/dom0"
	"ampoule/tools/xenrig/rig"
)

// loopDisk is the line of a domain's configuration that gives it a loop device of dom0
// as its disk, by Linux's blkback.
func loopDisk(loop int) string {
	return fmt.Sprintf(`disk=["format=raw,backendtype=phy,vdev=xvda,access=rw,script=%s,target=/dev/loop%d"]`, dom0.BlockScript, loop)
}

// crashGuest is the domain that xl makes again when it has crashed.
const crashGuest = "crashed"

// crashes lets a guest that commits without pause die in several ways. Each is a crash to
// the toolstack, leaves what it said on the disk, and loses no generation that was
// reported; the next domain shows it.
func crashes(h *host) {
	image := h.program("ampoule/boot/guests/disk")
	_, err := h.Run(h.t.Context(), 30*time.Second, "dd if=/dev/zero of=/run/crash.img bs=1M count=4 && losetup /dev/loop2 /run/crash.img")
	h.must("loop device", err)
	last := h.createdAnew(image)

	want := "panic: on purpose" // of the run before
	for _, next := range []struct{ end, said string }{
		{"fatal", "fatal error: sync: unlock of unlocked mutex"}, {"stack", "fatal error: stack overflow"},
		{"memory", "fatal error: runtime: out of memory"}, {"exit", ""},
	} {
		h.start(rig.Guest{Image: image, Memory: 32, Cmdline: "load=commit end=" + next.end, Config: []string{loopDisk(2)}})
		reason, lines := h.ended(2*time.Minute, 150*time.Millisecond)
		if reason != crash {
			h.t.Errorf("%s: shutdown reason %d", next.end, reason)
		}
		if text := recorded(lines); !strings.Contains(text, want) || len(text) < 100 {
			h.t.Errorf("%s: the record of the run before is %q, want %q", next.end, text, want)
		}
		if found := generation(h, lines, "found"); found < last || !slices.Contains(lines, "consistent") {
			h.t.Errorf("%s: generation %d is there, %d was stored:\n%s", next.end, found, last, strings.Join(lines, "\n"))
		}
		last, want = generation(h, lines, "stored"), next.said
		if all := strings.Join(lines, "\n"); strings.Contains(all, "PRIVATE") || strings.Contains(all, "5ec2e7") {
			h.t.Errorf("%s: a secret is in\n%s", next.end, all)
		}
	}
	_, err = h.Run(h.t.Context(), 30*time.Second, "losetup -d /dev/loop2; rm -f /run/crash.img")
	h.must("clean up", err)
}

// createdAnew has a guest panic that is configured as mkimage does it: the toolstack makes
// it again, and the new domain shows the record. It answers the last generation that was
// stored.
func (h *host) createdAnew(image string) int {
	h.t.Helper()
	h.must("create", h.Create(h.t.Context(), crashGuest, rig.Guest{Image: image, Memory: 32, Cmdline: "load=commit end=panic once=1",
		OnCrash: "restart", Config: []string{loopDisk(2)}}))
	ctx, cancel := context.WithTimeout(h.t.Context(), 60*time.Second)
	defer cancel()
	_, err := h.WaitLog(ctx, crashGuest, regexp.MustCompile("^consistent$"))
	h.must("the guest is not created anew", err)
	h.xl("destroy", crashGuest)
	log, err := h.GuestLog(h.t.Context(), crashGuest)
	h.must("console", err)
	before, after, ok := strings.Cut(log, "\ncrash at ")
	if !ok {
		h.t.Fatalf("no record:\n%s", log)
	}
	stored, lines := strings.Split(before, "\n"), strings.Split(after, "\n")
	if text := recorded(lines); !strings.Contains(text, "panic: on purpose") || !strings.Contains(before, text[:strings.LastIndexByte(text[:len(text)-1], '\n')]) {
		h.t.Errorf("the record is not what the console has:\n%s\n%s", text, log)
	}
	if found, last := generation(h, lines, "found"), generation(h, stored, "stored"); found < last || last < 3 {
		h.t.Errorf("generation %d is there, %d was stored", found, last)
	}
	return generation(h, lines, "found")
}

// recorded is the text of the crash record that the guest's console shows.
func recorded(lines []string) string {
	var text strings.Builder
	for _, l := range lines {
		if l, ok := strings.CutPrefix(l, "| "); ok {
			text.WriteString(l + "\n")
		}
	}
	return text.String()
}

// generation is the number in the last line of the console that has it behind word.
func generation(h *host, lines []string, word string) int {
	h.t.Helper()
	n := -1
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, word+" "); ok {
			var err error
			if n, err = strconv.Atoi(v); err != nil {
				h.t.Fatalf("%q: %v", l, err)
			}
		}
	}
	if n < 0 {
		h.t.Fatalf("no line %q:\n%s", word, strings.Join(lines, "\n"))
	}
	return n
}
