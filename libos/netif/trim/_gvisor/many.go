package hash

import (
	"math/rand/v2"

	system "gvisor.dev/gvisor/pkg/rand"
)

// Many is RandN32 for many numbers: those of ChaCha8 with a seed of the system's.
func Many(n int) []uint32 {
	var seed [32]byte
	if _, err := system.Read(seed[:]); err != nil {
		panic("unable to get random numbers: " + err.Error())
	}
	source := rand.NewChaCha8(seed)
	r := make([]uint32, n+1)
	for i := 0; i < n; i += 2 {
		v := source.Uint64()
		r[i], r[i+1] = uint32(v), uint32(v>>32)
	}
	return r[:n]
}
