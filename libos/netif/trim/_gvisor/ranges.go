package tcp

import (
	"slices"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// ranges are SACK blocks, of which no two begin at the same place, in the order of
// their beginnings. A scoreboard has maxSACKBlocks at most, and mostly none: for those
// a tree took 20 KB of code.
type ranges []header.SACKBlock

// from is the index of the first block that does not begin before b.
func (r ranges) from(b header.SACKBlock) int {
	i := 0
	for i < len(r) && r[i].Start.LessThan(b.Start) {
		i++
	}
	return i
}

func (r ranges) Len() int { return len(r) }

// AscendGreaterOrEqual calls f for those from b on until it says false.
func (r ranges) AscendGreaterOrEqual(b header.SACKBlock, f func(header.SACKBlock) bool) {
	for i := r.from(b); i < len(r) && f(r[i]); i++ {
	}
}

// DescendLessOrEqual calls f for b and those before it, the last first, until it says
// false.
func (r ranges) DescendLessOrEqual(b header.SACKBlock, f func(header.SACKBlock) bool) {
	i := r.from(b)
	if i == len(r) || r[i].Start != b.Start {
		i--
	}
	for ; i >= 0 && f(r[i]); i-- {
	}
}

// Ascend calls f for all until it says false.
func (r ranges) Ascend(f func(header.SACKBlock) bool) {
	for i := 0; i < len(r) && f(r[i]); i++ {
	}
}

// Delete removes the block that begins where b does, and returns it.
func (r *ranges) Delete(b header.SACKBlock) (old header.SACKBlock, ok bool) {
	i := r.from(b)
	if i == len(*r) || (*r)[i].Start != b.Start {
		return old, false
	}
	old = (*r)[i]
	*r = slices.Delete(*r, i, i+1)
	return old, true
}

// ReplaceOrInsert enters b, in place of one that begins where it does, which it
// returns.
func (r *ranges) ReplaceOrInsert(b header.SACKBlock) (old header.SACKBlock, ok bool) {
	i := r.from(b)
	if i < len(*r) && (*r)[i].Start == b.Start {
		old, (*r)[i] = (*r)[i], b
		return old, true
	}
	*r = slices.Insert(*r, i, b)
	return old, false
}
