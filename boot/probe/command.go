package probe

// The parameter with which Firecracker, and QEMU's microvm without ACPI, name
// virtio-mmio devices on the kernel's command line:
//
//	virtio_mmio.device=<size>[K|M|G]@<base>:<irq>[:<id>]
//
// Numbers are decimal, or hexadecimal after 0x. Linux takes a number with a
// leading zero as octal; here it is refused.
const deviceParam = "virtio_mmio.device="

const (
	low4G  = 1 << 32
	maxGSI = 1023
)

// window is the address range of a virtio-mmio device.
type window struct {
	base, size uint64
	gsi        uint32
}

// maxWindows bounds the devices that one command line may name.
const maxWindows = 32

// scanCommand looks at each device that the command line names, and tells
// whether it names any.
func scanCommand(bus *Bus, line []byte, req *Request, out *Result) bool {
	named := false
	for i := 0; i < len(line); {
		if isSpace(peek(line, i)) {
			i++
			continue
		}
		if !hasPrefix(line, i, deviceParam) {
			i = wordEnd(line, i)
			continue
		}
		named = true
		w, at, c := parseWindow(line, i+len(deviceParam))
		if c != OK {
			out.fault(c, InCommand, uint64(at))
		} else if c = out.addWindow(w); c != OK {
			out.fault(c, InCommand, uint64(i))
		} else {
			scanMMIO(bus, w, req, out, false)
		}
		i = wordEnd(line, i)
	}
	return named
}

func (r *Result) addWindow(w window) Code {
	for i := range r.windows {
		if uint32(i) == r.nwindow {
			r.windows[i] = w
			r.nwindow++
			return OK
		}
		o := &r.windows[i]
		if w.base < o.base+o.size && o.base < w.base+w.size {
			return CommandOverlap
		}
	}
	return TooManyDevices
}

// parseWindow parses the value that starts at line[i]. With an error comes the
// offset where it is.
func parseWindow(line []byte, i int) (w window, at int, c Code) {
	size, n, ok := number(line, i)
	shift := 0
	switch peek(line, n) {
	case 'K', 'k':
		shift = 10
	case 'M', 'm':
		shift = 20
	case 'G', 'g':
		shift = 30
	}
	if shift != 0 {
		n++
	}
	if !ok || size >= low4G || size<<shift < mmioConfig || size<<shift >= low4G || peek(line, n) != '@' {
		return w, i, CommandSize
	}
	w.size = size << shift

	i = n + 1
	w.base, n, ok = number(line, i)
	if !ok || w.base%mmioConfig != 0 || w.base > low4G-w.size || peek(line, n) != ':' {
		return w, i, CommandBase
	}

	i = n + 1
	gsi, n, ok := number(line, i)
	if !ok || gsi > maxGSI {
		return w, i, CommandIRQ
	}
	w.gsi = uint32(gsi)

	if peek(line, n) == ':' { // the platform device's id means nothing here
		i = n + 1
		if _, n, ok = number(line, i); !ok {
			return w, i, CommandTail
		}
	}
	if !isSpace(peek(line, n)) {
		return w, n, CommandTail
	}
	return w, n, OK
}

// number parses an unsigned number at line[i] and gives the offset behind it.
// It fails on no digits, on about 60 bits and more and on a leading zero.
func number(line []byte, i int) (v uint64, next int, ok bool) {
	base := uint64(10)
	if peek(line, i) == '0' {
		if x := peek(line, i+1); x == 'x' || x == 'X' {
			base, i = 16, i+2
		} else if isDigit(x) {
			return 0, i, false
		}
	}
	start := i
	for ; ; i++ {
		d := uint64(digit(peek(line, i)))
		if d >= base {
			return v, i, i > start
		}
		if v > (1<<64-1)/16-1 { // no number here needs that many bits
			return 0, i, false
		}
		v = v*base + d
	}
}

// digit gives the value of a hexadecimal digit, 255 for anything else.
func digit(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isSpace takes the end of the line, NUL, for a space.
func isSpace(c byte) bool { return c <= ' ' }

// peek gives line[i], NUL outside the line.
func peek(line []byte, i int) byte {
	if uint(i) >= uint(len(line)) {
		return 0
	}
	return line[i]
}

func hasPrefix(line []byte, i int, p string) bool {
	for j := 0; j < len(p); j++ {
		if peek(line, i+j) != p[j] {
			return false
		}
	}
	return true
}

// wordEnd gives the offset of the first space at or after i.
func wordEnd(line []byte, i int) int {
	for i < len(line) && !isSpace(peek(line, i)) {
		i++
	}
	return i
}
