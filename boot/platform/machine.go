//go:build ampoule

package platform

// clock is the runtime's own.
type clock struct{}

func (clock) Monotonic() int64 { return nanotime() }

func (clock) Wall() (int64, int32) {
	sec, ns, _ := now()
	return sec, ns
}

// entropy is the generator that boot seeded; see libos/rt/_runtime/amp_rand.go.
type entropy struct{}

func (entropy) Read(p []byte) (int, error) {
	getrandom(p)
	return len(p), nil
}
