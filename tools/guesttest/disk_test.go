package guesttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/load"
)

const diskGuest = "ampoule/boot/guests/disk"

// withDisk boots the guest that keeps a store, on a disk in a file. props are
// further properties of the device.
func withDisk(t *testing.T, v guest.Variant, file, props, command string) *vm.VM {
	t.Helper()
	return guest.Boot(t, vm.Config{Image: images.Program(t, diskGuest, v.GOAMD64), Machine: v.Machine, RAM: 32,
		CPU: guest.CPU(v.GOAMD64), Append: command, Args: drive(v.Machine, "format=raw,file="+file, props)})
}

// drive is what QEMU is told to have a disk with the given content.
func drive(m vm.Machine, content, props string) []string {
	dev := "virtio-blk-device"
	if m == vm.Q35 {
		dev = "virtio-blk-pci,disable-legacy=on"
	}
	return []string{"-drive", "if=none,id=disk," + content, "-device", dev + ",drive=disk" + props}
}

func diskFile(t *testing.T, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 4<<20); err != nil {
		t.Fatal(err)
	}
	return name
}

func number(t *testing.T, line string) int {
	t.Helper()
	n, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDiskKeeps: what is stored is there when QEMU was killed and started again.
func TestDiskKeeps(t *testing.T) {
	guest.Each(t, func(t *testing.T, v guest.Variant) {
		for _, props := range []string{"", ",logical_block_size=4096,physical_block_size=4096", ",event_idx=off"} {
			file := diskFile(t, nil)
			for gen := range 3 {
				g := withDisk(t, v, file, props, "")
				line(t, g, fmt.Sprintf("^found %d$", gen))
				if gen > 0 {
					line(t, g, "^consistent$")
				}
				line(t, g, fmt.Sprintf("^stored %d$", gen+1))
				if strings.Contains(g.Console(), "notice") {
					t.Errorf("generation %d: a notice, and nothing was wrong", gen)
				}
				kill(t, g)
			}
			if content, err := os.ReadFile(file); err != nil || !bytes.Contains(content, []byte("publicgeneration 3;generation 3;")) ||
				bytes.Contains(content, []byte("privategeneration")) {
				t.Errorf("disk: %v, or not what it should hold", err)
			}
		}
	})
}

// kill ends QEMU without a chance to say goodbye.
func kill(t *testing.T, g *vm.VM) {
	t.Helper()
	if err := g.Process().Kill(); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
}

// TestCrashRecord: each way of dying that goes through the runtime leaves what it said
// on the disk, without arguments, and the store as it was; the next run reads it.
func TestCrashRecord(t *testing.T) {
	for i, v := range guest.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			for name, want := range map[string]string{
				"panic": "panic: on purpose", "nil": "panic: runtime error: invalid memory address or nil pointer dereference",
				"fatal": "fatal error: sync: unlock of unlocked mutex", "stack": "fatal error: stack overflow",
				"memory": "fatal error: runtime: out of memory", "wild": "fatal error: fault", "long": "panic: long long ",
				"deadlock": "fatal error: all goroutines are asleep - deadlock!", "exit": "",
			} {
				if i > 0 && name != "panic" {
					continue // what differs between variants is the driver's way
				}
				file := diskFile(t, nil)
				g := withDisk(t, v, file, "", "load=commit end="+name)
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				if _, err := g.Wait(ctx); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, g.Console())
				}
				said := g.Console()
				g = withDisk(t, v, file, "", "")
				line(t, g, "^found ")
				line(t, g, "^consistent$")
				there := strings.Contains(g.Console(), " of disk guest\n")
				var text strings.Builder
				for _, l := range g.Lines() {
					if l, ok := strings.CutPrefix(l, "| "); ok {
						text.WriteString(l + "\n")
					}
				}
				if there != (want != "") || !strings.Contains(text.String(), want) || there && (text.Len() < 100 || text.Len() > 4096) {
					t.Errorf("%s: %q; want %q; it said\n%s", name, &text, want, said)
				}
				for _, secret := range []string{"PRIVATE", "5ec2e7", "rax "} {
					if strings.Contains(text.String(), secret) || strings.Contains(said, secret) {
						t.Errorf("%s: %s is in\n%s", name, secret, said)
					}
				}
				// What the console has, but for the end.
				if whole := strings.LastIndexByte(strings.TrimSuffix(text.String(), "\n"), '\n'); there && !strings.Contains(said, text.String()[:max(whole, 0)]) {
					t.Errorf("%s: the record is not what the console has:\n%s\n%s", name, &text, said)
				}
				kill(t, g)
			}
		})
	}
}

// TestDiskPowerCut kills QEMU while the guest commits without pause: each time
// the last generation that was reported is there, or the one that was under way.
func TestDiskPowerCut(t *testing.T) {
	for _, m := range vm.Machines {
		t.Run(string(m), func(t *testing.T) {
			v := guest.Variant{Machine: m, GOAMD64: "v1"}
			file := diskFile(t, nil)
			last := 0
			for cut := range 8 {
				g := withDisk(t, v, file, "", "load=commit")
				found := number(t, line(t, g, "^found "))
				if found < last {
					t.Fatalf("cut %d: generation %d is there, %d was stored", cut, found, last)
				}
				if last > 0 {
					line(t, g, "^consistent$")
				}
				line(t, g, "^stored ")
				time.Sleep(time.Duration(40+31*cut) * time.Millisecond)
				kill(t, g)
				for _, l := range g.Lines() {
					if strings.HasPrefix(l, "stored ") {
						last = number(t, l)
					}
				}
			}
			if last < 20 {
				t.Errorf("only %d generations", last)
			}
		})
	}
}

// TestDiskRefused: a disk that is none of ours is left as it is.
func TestDiskRefused(t *testing.T) {
	behind := make([]byte, 64<<10)
	copy(behind[1080:], "\x53\xef") // where ext has its superblock
	for what, content := range map[string][]byte{"noise": bytes.Repeat([]byte("something else. "), 1<<18), "zeros in front": behind} {
		file := diskFile(t, content)
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g := withDisk(t, guest.Variant{Machine: vm.MicroVM, GOAMD64: "v1"}, file, "", "")
		line(t, g, "^error: store: disk holds something else")
		<-g.Done()
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s: the disk has changed: %v", what, err)
		}
	}
}

// TestDiskFails: disks that fail or take no writes are errors that say so, and a
// slow one is waited for.
func TestDiskFails(t *testing.T) {
	file := diskFile(t, nil)
	for name, c := range map[string]struct{ content, props, want string }{
		"write": {"driver=blkdebug,image.driver=raw,image.file.driver=file,image.file.filename=" + file +
			",inject-error.0.event=none,inject-error.0.errno=5,inject-error.0.iotype=write", ",werror=report",
			"^error: store: begin generation 1: .*input/output error"},
		"read": {"driver=blkdebug,image.driver=raw,image.file.driver=file,image.file.filename=" + file +
			",inject-error.0.event=none,inject-error.0.errno=5,inject-error.0.iotype=read", ",rerror=report",
			"^error: store: .*input/output error"},
		"read-only": {"format=raw,readonly=on,file=" + file, "", "^error: store: disk[0-9]+: .*read-only"},
		"small":     {"driver=null-co,size=1M,read-zeroes=on", "", "^error: store: disk is too small"},
		"slow":      {"driver=null-co,size=4M,read-zeroes=on,latency-ns=20000000", "", "^stored 1$"},
	} {
		for _, m := range vm.Machines {
			t.Run(name+"-"+string(m), func(t *testing.T) {
				g := guest.Boot(t, vm.Config{Image: images.Program(t, diskGuest, "v1"), Machine: m, RAM: 32,
					CPU: guest.CPU("v1"), Args: drive(m, c.content, c.props)})
				line(t, g, c.want)
			})
		}
	}
}

// TestDiskUnused: a disk that the program never asks for is in nobody's way.
func TestDiskUnused(t *testing.T) {
	for _, m := range vm.Machines {
		t.Run(string(m), func(t *testing.T) {
			g := guest.Boot(t, vm.Config{Image: images.App(t, "dns", "v1"), Machine: m, CPU: guest.CPU("v1"), RAM: 32, RNG: true,
				Args: drive(m, "format=raw,file="+diskFile(t, nil), ""),
				Net:  vm.Net{Kind: vm.NetUser, Forwards: []vm.Forward{{Proto: "udp", Port: 53}}}})
			var d net.Dialer
			guest.Up(t, g, d.DialContext, g.Addr("udp", 53), load.DNS("www.example.org"))
		})
	}
}
