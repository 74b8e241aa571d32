package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"ampoule/libos/device"
	"ampoule/libos/device/devicetest"
)

// maxOutcomes bounds the contents tried for one cut; where there are more, so
// many are drawn.
const maxOutcomes = 300

// TestCutAnywhere cuts the power at every sector that a commit writes and at
// every flush, and looks at everything that the disk may then hold: there is
// the old generation or the new one, whole, and the store goes on from it.
func TestCutAnywhere(t *testing.T) {
	for _, c := range []struct{ sector, size, before int }{
		{512, 200, 0}, {512, 200, 1}, {512, 200, 2}, {512, 3000, 2},
		{4096, 9000, 0}, {4096, 20000, 1}, {512, 12000, 2},
	} {
		t.Run(fmt.Sprintf("sector %d, %d bytes, generation %d", c.sector, c.size, c.before+1), func(t *testing.T) {
			tried, err := cutAnywhere(c.sector, c.size, c.before, func(d *devicetest.Disk) device.Block { return d })
			if err != nil {
				t.Fatal(err)
			}
			if tried < 10 {
				t.Fatalf("only %d contents tried", tried)
			}
			t.Logf("%d contents", tried)
		})
	}
}

// forgetful is a disk whose Flush does nothing.
type forgetful struct{ *devicetest.Disk }

func (forgetful) Flush() error { return nil }

// TestCutFindsMissingFlush holds the test above to finding what it is for.
func TestCutFindsMissingFlush(t *testing.T) {
	for before := range 3 {
		_, err := cutAnywhere(512, 200, before, func(d *devicetest.Disk) device.Block { return forgetful{d} })
		if err == nil {
			t.Errorf("generation %d: a disk that does not flush passes", before+1)
		}
	}
}

// generation is the content of generation gen in these tests.
func generation(gen, size int) map[string]string {
	return map[string]string{"a.crt": strings.Repeat(fmt.Sprint(gen), size), "a.key": fmt.Sprint("secret ", gen)}
}

// cutAnywhere makes some generations, then the next one with a cut at each of its
// steps. What the store sees of the disk is front's. It answers the number of
// contents looked at.
func cutAnywhere(sector, size, before int, front func(*devicetest.Disk) device.Block) (tried int, err error) {
	start := newDisk(sector)
	s, err := Open(config(start))
	if err != nil {
		return 0, err
	}
	for gen := 1; gen <= before; gen++ {
		if _, err := s.Commit(uint64(gen-1), changes(generation(gen, size))); err != nil {
			return 0, err
		}
	}
	for cut := 0; ; cut++ {
		d := start.Outcome(func(int) int { return 0 }) // a copy: all is flushed
		d.CutAt(cut)
		s, err := Open(config(front(d)))
		if err != nil {
			return tried, err
		}
		_, failed := s.Commit(uint64(before), changes(generation(before+1, size)))
		n, err := look(d, failed, size, before)
		tried += n
		if err != nil {
			return tried, fmt.Errorf("cut at step %d (%v): %w", cut, failed, err)
		}
		if failed == nil {
			return tried, nil // the cut is behind the last step
		}
	}
}

// look checks everything that may be on a disk after a commit that ended with an
// error, or did not.
func look(d *devicetest.Disk, failed error, size, before int) (tried int, err error) {
	if d.Choices(maxOutcomes) < maxOutcomes {
		for o := range d.Outcomes() {
			tried++
			if err := restart(o, failed, size, before); err != nil {
				return tried, err
			}
		}
		return tried, nil
	}
	r := rand.New(rand.NewPCG(1, uint64(size)))
	for range maxOutcomes / 4 {
		tried++
		if err := restart(d.Outcome(r.IntN), failed, size, before); err != nil {
			return tried, err
		}
	}
	return tried, nil
}

// restart opens the store that a cut left, and makes the next commit in it.
func restart(d *devicetest.Disk, failed error, size, before int) error {
	s, err := Open(config(d))
	if err != nil {
		return err
	}
	st, got := s.Status(), content(s)
	want := generation(int(st.Generation), size)
	if st.Generation == 0 {
		want = nil
	}
	switch {
	case st.Generation != uint64(before) && st.Generation != uint64(before+1):
		return fmt.Errorf("generation %d", st.Generation)
	case failed == nil && st.Generation == uint64(before):
		return fmt.Errorf("a commit without an error is lost: %s", st.Notice)
	case !maps.Equal(got, want):
		return fmt.Errorf("generation %d holds %.100q", st.Generation, got)
	case strings.Contains(st.Notice, "damaged"):
		return fmt.Errorf("a power cut is reported as %q", st.Notice)
	}
	if _, err := s.Commit(st.Generation, changes(map[string]string{"next": "1"})); err != nil {
		return fmt.Errorf("commit after the cut: %w", err)
	}
	if s, err = Open(config(d)); err != nil {
		return fmt.Errorf("after the next commit: %w", err)
	}
	if v, _ := s.Get("next"); string(v) != "1" {
		return fmt.Errorf("the next commit is lost")
	}
	return nil
}
