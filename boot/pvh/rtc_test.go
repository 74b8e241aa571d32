//go:build !ampoule

package pvh

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestCivilDays(t *testing.T) {
	for d := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2405; d = d.AddDate(0, 0, 1) {
		if got, want := civilDays(int64(d.Year()), int64(d.Month()), int64(d.Day())), d.Unix()/86400; got != want {
			t.Fatalf("%v is day %d, want %d", d, got, want)
		}
	}
}

// registers is what a clock shows at a time, with status B.
func registers(at time.Time, b int64) [7]int64 {
	hour := int64(at.Hour())
	if b&rtc24 == 0 {
		if hour %= 12; hour == 0 {
			hour = 12
		}
	}
	r := [7]int64{int64(at.Second()), int64(at.Minute()), hour, int64(at.Day()), int64(at.Month()), int64(at.Year() - 2000), b}
	if b&rtcBinary == 0 {
		for i := range r[:6] {
			r[i] = r[i]/10<<4 | r[i]%10
		}
	}
	if b&rtc24 == 0 && at.Hour() >= 12 {
		r[2] |= rtcPM
	}
	return r
}

func TestRTCTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	first := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	seconds := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix() - first.Unix()
	var times []time.Time
	for h := range 25 {
		times = append(times, first.Add(time.Duration(h)*time.Hour), first.Add(time.Duration(h)*time.Hour-time.Second+time.Hour))
	}
	times = append(times, time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	for range 20000 {
		times = append(times, first.Add(time.Duration(r.Int64N(seconds))*time.Second))
	}
	for _, at := range times {
		for _, b := range []int64{0, rtc24, rtcBinary, rtc24 | rtcBinary, 0xf9 | rtc24} {
			raw := registers(at, b)
			kept := raw
			if got := rtcTime(&raw); got != at.UnixNano() {
				t.Fatalf("%v, status B %#x: % x is %v", at, b, raw, time.Unix(0, got).UTC())
			}
			if raw != kept {
				t.Fatal("rtcTime changed what it was given")
			}
		}
	}
	// Cloud Hypervisor: BCD, 24 hours, and a status B that denies it.
	raw := [7]int64{0x59, 0x30, 0x17, 0x31, 0x12, 0x25, 0}
	if got, want := rtcTime(&raw), time.Date(2025, 12, 31, 17, 30, 59, 0, time.UTC).UnixNano(); got != want {
		t.Errorf("24 hours in spite of status B: %v", time.Unix(0, got).UTC())
	}
	for _, bad := range [][7]int64{
		{0, 0, 0, 1, 0, 25, 6}, {0, 0, 0, 1, 13, 25, 6}, {0, 0, 0, 0, 1, 25, 6}, {0, 0, 0, 32, 1, 25, 6},
		{60, 0, 0, 1, 1, 25, 6}, {0, 60, 0, 1, 1, 25, 6}, {0, 0, 24, 1, 1, 25, 6}, {0, 0, 0, 1, 1, 100, 6},
		{0x0a, 0, 0, 1, 1, 0x25, 2}, {0, 0, 0, 1, 1, 0xa5, 2}, {}, {255, 255, 255, 255, 255, 255, 255},
	} {
		if got := rtcTime(&bad); got != 0 {
			t.Errorf("% d is taken for %v", bad, time.Unix(0, got).UTC())
		}
	}
}

func TestRTCWall(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	clock := func(regs [7]int64) func(uint8) uint8 {
		return func(reg uint8) uint8 {
			for i, r := range []uint8{0, 2, 4, 7, 8, 9, rtcStatusB} {
				if r == reg {
					return uint8(regs[i])
				}
			}
			if reg == rtcStatusD {
				return 0x80
			}
			return 0x26
		}
	}
	good := clock(registers(at, rtc24))
	reads := 0
	for _, tc := range []struct {
		name string
		rtc  func(uint8) uint8
		want int64
	}{
		{"good", good, at.UnixNano()},
		{"none: ones", nil, 0},
		{"none: zeros", func(uint8) uint8 { return 0 }, 0},
		{"none: an echo", func(reg uint8) uint8 { return reg }, 0},
		{"battery empty", func(reg uint8) uint8 {
			if reg == rtcStatusD {
				return 0
			}
			return good(reg)
		}, 0},
		{"being updated", func(reg uint8) uint8 {
			if reads++; reg == rtcStatusA && reads < 50 {
				return rtcBusy
			}
			return good(reg)
		}, at.UnixNano()},
		{"always being updated", func(reg uint8) uint8 {
			if reg == rtcStatusA {
				return 0xff
			}
			return good(reg)
		}, at.UnixNano()},
		{"never the same", func(reg uint8) uint8 {
			if reg == 0 {
				reads++
				return uint8(reads % 10)
			}
			return good(reg)
		}, 0},
	} {
		_, hw := newMachine(t)
		hw.rtc = tc.rtc
		if got := rtcWall(); got != tc.want {
			t.Errorf("%s: %v", tc.name, time.Unix(0, got).UTC())
		}
	}
}
