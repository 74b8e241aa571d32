//go:build ampoule

package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/boot/guests/bare"
	"ampoule/libos/rt/rtabi"
)

var preemptChecks = []check{
	{"spinner-ticker", spinnerTicker},
	{"spinner-gc", spinnerGC},
	{"spinner-fair", spinnerFair},
	{"vector-integrity", vectorIntegrity},
	{"register-integrity", registerIntegrity},
	{"stack-floor", stackFloor},
}

// spin counts without a call, so that only an interrupt can stop it, until stop
// is set. (The load is no call either.)
func spin(stop *atomic.Bool, count *uint64) {
	n := uint64(0)
	for !stop.Load() {
		n++
	}
	*count = n
}

// spinning runs f beside n spinners.
func spinning(r *report, n int, f func()) []uint64 {
	var stop atomic.Bool
	var wg sync.WaitGroup
	counts := make([]uint64, n)
	_, before, _ := bare.Stats()
	for i := range counts {
		wg.Go(func() { spin(&stop, &counts[i]) })
	}
	runtime.Gosched()
	f()
	stop.Store(true)
	wg.Wait()
	_, after, _ := bare.Stats()
	if after == before {
		r.errorf("nothing was preempted")
	}
	r.notef("%d preemptions", after-before)
	return counts
}

// spinnerTicker: a 20 ms ticker keeps going beside a call-free loop. A spinner
// may hold the CPU for two ticks of 10 ms, so each period ends within 40 ms;
// the median must, in the best of some rounds, as the host may hold us up too.
func spinnerTicker(r *report) {
	for range rounds() {
		var gaps []time.Duration
		r.notes = r.notes[:0]
		spinning(r, 1, func() {
			t := time.NewTicker(20 * time.Millisecond)
			defer t.Stop()
			last := time.Now()
			for range 20 {
				<-t.C
				now := time.Now()
				gaps, last = append(gaps, now.Sub(last)), now
			}
		})
		slices.Sort(gaps)
		r.notef("20 ms ticker: %v (median), %v (most)", gaps[10], gaps[19])
		if gaps[10] <= 40*time.Millisecond {
			return
		}
	}
	r.errorf("20 ms ticker starved in each of %d rounds", rounds())
}

// spinnerGC: a collection stops the world, so it must be able to stop a spinner.
// Without preemption it never ends; how long it takes is the host's affair.
func spinnerGC(r *report) {
	spinning(r, 2, func() {
		for range 3 {
			done := make(chan struct{})
			go func() { runtime.GC(); close(done) }()
			select {
			case <-done:
			case <-time.After(30 * time.Second):
				r.errorf("a collection took over 30 s beside two spinners")
				return
			}
		}
	})
}

// spinnerFair: call-free loops share the CPU.
func spinnerFair(r *report) {
	counts := spinning(r, 3, func() { time.Sleep(600 * time.Millisecond) })
	lo, hi := slices.Min(counts), slices.Max(counts)
	if lo == 0 || hi/lo > 4 {
		r.errorf("three spinners counted %d", counts)
	}
}

// waves computes with many floats live at once, in a loop without calls.
func waves(seed float64, n int) float64 {
	a, b, c, d := seed, seed+1, seed+2, seed+3
	e, f, g, h := 0.5*seed, 0.25*seed, 1/seed, 2*seed
	for i := range n {
		t := float64(i&7) * 1e-3
		a, b, c, d = b*0.9+t, c*0.8-t, d*0.7+t, a*0.6-t
		e, f, g, h = f*0.99+a, g*0.98-b, h*0.97+c, e*0.96-d
	}
	return a + b + c + d + e + f + g + h
}

// digests runs data through what the standard library has in vector assembly.
func digests(data []byte) [32]byte {
	h := sha256.New()
	h.Write(data)
	s := sha512.Sum512(data)
	h.Write(s[:])
	block, _ := aes.NewCipher(data[:16])
	out := make([]byte, len(data))
	cipher.NewCTR(block, data[16:32]).XORKeyStream(out, data)
	h.Write(out)
	copy(out[1:], out) // overlapping memmove
	n := crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)) ^ crc32.ChecksumIEEE(out)
	h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(bytes.Count(out, data[:1]))})
	return [32]byte(h.Sum(nil))
}

// vectorIntegrity compares results computed alone with the same computed by
// eight goroutines that preempt each other, collections included.
func vectorIntegrity(r *report) {
	const workers = 8
	data := make([][]byte, workers)
	sums, floats := make([][32]byte, workers), make([]float64, workers)
	for i := range data {
		data[i] = bytes.Repeat([]byte{byte(i), 3, 1, 4, 1, 5, 9, 2}, 4096)
		sums[i], floats[i] = digests(data[i]), waves(float64(i+1), 200000)
	}
	if math.IsNaN(floats[0]) || sums[0] == sums[1] {
		r.errorf("the reference is no reference")
	}
	var bad, rounds atomic.Int32
	var ballast atomic.Pointer[[]byte]
	spinning(r, 1, func() {
		var wg sync.WaitGroup
		end := time.Now().Add(1500 * time.Millisecond)
		for i := range workers {
			wg.Go(func() {
				for time.Now().Before(end) || rounds.Load() < 2*workers {
					if waves(float64(i+1), 200000) != floats[i] || digests(data[i]) != sums[i] {
						bad.Add(1)
					}
					b := make([]byte, 1<<16)
					ballast.Store(&b)
					rounds.Add(1)
				}
			})
		}
		wg.Wait()
	})
	if bad.Load() > 0 {
		r.errorf("%d of %d results were wrong", bad.Load(), rounds.Load())
	}
	r.notef("%d rounds", rounds.Load())
}

func holdYMM(in, out *[512]byte, spins uint64)
func holdXMM(in, out *[512]byte, spins uint64)

// registerIntegrity holds patterns in all vector registers across many ticks,
// while handlers and other goroutines use the same registers.
func registerIntegrity(r *report) {
	hold, width := holdXMM, 16
	if bare.Info().Features&rtabi.FeatureXSave != 0 {
		hold, width = holdYMM, 32
	}
	before, _, _ := bare.Stats()
	spinning(r, 1, func() {
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				var in, out [512]byte
				for round := range 10 {
					for i := range in {
						in[i] = byte(i*7 + w*31 + round)
					}
					hold(&in, &out, 8e6)
					for reg := range 16 {
						if at := reg * 32; !bytes.Equal(in[at:at+width], out[at:at+width]) {
							r.errorf("register %d changed from %x to %x", reg, in[at:at+width], out[at:at+width])
						}
					}
					runtime.Gosched()
				}
			})
		}
		wg.Wait()
	})
	after, _, _ := bare.Stats()
	if after-before < 10 {
		r.errorf("only %d ticks came meanwhile: nothing was tried", after-before)
	}
	r.notef("%d-byte registers, %d ticks", width, after-before)
}

func standOn(floor *byte, spins uint64)

// stackFloor: nosplit functions may use a stack to its last byte, so neither a
// tick nor the way back from it may touch what is below the stack pointer.
func stackFloor(r *report) {
	below := bytes.Repeat([]byte{0xa5}, 1024)
	b := append(bytes.Clone(below), make([]byte, 64)...)
	before, _, _ := bare.Stats()
	for after := before; after < before+10; after, _, _ = bare.Stats() {
		standOn(&b[len(below)], 5e7)
	}
	if !bytes.Equal(b[:len(below)], below) {
		r.errorf("ticks have written below the stack pointer: %x", b[len(below)-256:len(below)])
	}
}
