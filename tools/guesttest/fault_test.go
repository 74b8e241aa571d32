package guesttest

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"testing"
	"time"

	"ampoule/boot/layout"
	"ampoule/libos/rt/rtabi"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
)

// TestDoubleFault shows that a fault in ring 0 that cannot be delivered on its
// own stack is reported from another. No code of ring 3 can bring it about, so
// the host plays the broken machine: through QEMU's debugger it points the
// gate's stack into its guard page, while the guest computes. The next tick
// then faults in ring 0, delivering that fault faults again, and the double
// fault handler runs on the stack that the TSS sets aside for it (IST1).
func TestDoubleFault(t *testing.T) {
	for i, m := range vm.Machines {
		level := []string{"v3", "v1"}[i]
		t.Run(string(m), func(t *testing.T) {
			dbg, gdb := stub(t)
			g, _ := cable(t, vm.Config{Image: images.Program(t, framesGuest, level), Machine: m, CPU: guest.CPU(level), RAM: 32,
				Append: "load=spin", Files: []*os.File{gdb},
				Args: []string{"-chardev", fmt.Sprintf("socket,id=gdb,fd=%d", vm.ExtraFD), "-gdb", "chardev:gdb"}})
			gate := placesOf(t, line(t, g, "^places: "))["gate"]
			line(t, g, "^up$")
			dbg.interrupt(t)
			rsp0 := gate + layout.GateGDT + 0x100 + 4 // of the TSS
			guard := binary.LittleEndian.AppendUint64(nil, gate+layout.GateStack+layout.Page)
			dbg.command(t, fmt.Sprintf("M%x,8:%s", rsp0, hex.EncodeToString(guard)))
			dbg.send(t, "c")
			line(t, g, `^ampoule: fault in ring 0 or nested: 0{15}8 0{16} `)
			if code, err := g.Wait(t.Context()); err != nil || code != rtabi.ExitFault {
				t.Errorf("exit code %d, %v, want %d", code, err, rtabi.ExitFault)
			}
		})
	}
}

// debugger speaks GDB's remote protocol, as far as it takes to write memory.
type debugger struct {
	f *os.File
	r *bufio.Reader
}

// stub gives both ends of a connection to QEMU's debugger stub.
func stub(t *testing.T) (*debugger, *os.File) {
	t.Helper()
	near, far, err := vm.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	near.SetDeadline(time.Now().Add(30 * time.Second))
	return &debugger{near, bufio.NewReader(near)}, far
}

func (d *debugger) send(t *testing.T, packet string) {
	t.Helper()
	sum := byte(0)
	for _, c := range []byte(packet) {
		sum += c
	}
	if _, err := fmt.Fprintf(d.f, "$%s#%02x", packet, sum); err != nil {
		t.Fatal(err)
	}
}

// interrupt stops the guest.
func (d *debugger) interrupt(t *testing.T) {
	t.Helper()
	if _, err := d.f.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	if got := d.reply(t); got == "" || got[0] != 'T' {
		t.Fatalf("the debugger says %q to an interrupt", got)
	}
}

// command sends a packet that is answered by OK.
func (d *debugger) command(t *testing.T, packet string) {
	t.Helper()
	d.send(t, packet)
	if got := d.reply(t); got != "OK" {
		t.Fatalf("the debugger says %q to %s", got, packet)
	}
}

// reply reads a packet and acknowledges it.
func (d *debugger) reply(t *testing.T) string {
	t.Helper()
	if _, err := d.r.ReadString('$'); err != nil {
		t.Fatal(err)
	}
	s, err := d.r.ReadString('#')
	if err != nil {
		t.Fatal(err)
	}
	d.r.Discard(2)
	d.f.Write([]byte{'+'})
	return s[:len(s)-1]
}
