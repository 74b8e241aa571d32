package pvh

// Registers of the battery-backed clock (Motorola MC146818A).
const (
	rtcIndex   = 0x70
	rtcData    = 0x71
	rtcStatusA = 0x0a // bit 7: update in progress
	rtcStatusB = 0x0b // bit 1: 24 hours, bit 2: binary
	rtcStatusD = 0x0d // bit 7: the content is valid
	rtcBusy    = 1 << 7
	rtcBinary  = 1 << 2
	rtc24      = 1 << 1
	rtcPM      = 1 << 7
	rtcPolls   = 1 << 14 // of a 244 us wait, each poll two I/O ports
	rtcTries   = 8
)

// rtcWall reads the battery-backed clock, in ns since 1970; 0 when there is
// none, or none that tells a time.
func rtcWall() int64 {
	// Ports without a device answer all ones or all zeros (Firecracker has no
	// such clock).
	if d := rtc(rtcStatusD); d&0x80 == 0 || d == 0xff {
		return 0
	}
	var a, b [7]int64
	for try := 0; try < rtcTries; try++ {
		readRTC(&a)
		readRTC(&b)
		if a == b {
			return rtcTime(&a)
		}
	}
	return 0
}

// readRTC reads seconds, minutes, hours, day, month, year and status B, once
// no update is in progress.
func readRTC(r *[7]int64) {
	for i := 0; i < rtcPolls && rtc(rtcStatusA)&rtcBusy != 0; i++ {
	}
	for i, reg := range [7]uint8{0, 2, 4, 7, 8, 9, rtcStatusB} {
		r[i] = int64(rtc(reg))
	}
}

// rtc reads a register. Bit 7 of the index, the mask of NMIs, stays clear:
// Cloud Hypervisor would take it for another register.
func rtc(reg uint8) uint8 {
	bus.Out8(rtcIndex, reg)
	return bus.In8(rtcData)
}

// rtcTime converts what readRTC read; years are those of this century. It
// answers 0 for what is no time.
func rtcTime(raw *[7]int64) int64 {
	r := *raw
	pm := r[2] & rtcPM
	r[2] &^= rtcPM
	if r[6]&rtcBinary == 0 { // BCD
		for i := 0; i < 6; i++ {
			if r[i]&15 > 9 {
				return 0
			}
			r[i] = r[i]>>4*10 + r[i]&15
		}
	}
	// A clock of 12 hours shows 1 to 12. One that claims to be that and shows
	// more is Cloud Hypervisor's, whose status B is always 0.
	if r[6]&rtc24 == 0 && r[2] >= 1 && r[2] <= 12 {
		r[2] %= 12
		if pm != 0 {
			r[2] += 12
		}
	}
	sec, min, hour, day, month, year := r[0], r[1], r[2], r[3], r[4], r[5]
	if sec > 59 || min > 59 || hour > 23 || day < 1 || day > 31 || month < 1 || month > 12 || year > 99 {
		return 0
	}
	return (civilDays(2000+year, month, day)*86400 + hour*3600 + min*60 + sec) * 1e9
}

// civilDays is the number of days from 1970-01-01 to a date of the Gregorian
// calendar, after H. Hinnant's days_from_civil.
func civilDays(y, m, d int64) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	return 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 719469
}
