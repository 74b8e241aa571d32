package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ampoule/tools/size/measure"
)

// budget is a line of the budget file.
type budget struct {
	image measure.Image
	bytes int64
}

// readBudgets reads lines of an image, a profile and bytes; # begins a comment.
func readBudgets(r io.Reader, name string) ([]budget, error) {
	var out []budget
	seen := map[measure.Image]bool{}
	sc := bufio.NewScanner(r)
	for n := 1; sc.Scan(); n++ {
		line, _, _ := strings.Cut(sc.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("%s:%d: %d words, want image, profile, bytes", name, n, len(words))
		}
		app, target, ok := strings.Cut(words[0], "-")
		bytes, err := strconv.ParseInt(words[2], 10, 64)
		if !ok || err != nil || bytes <= 0 {
			return nil, fmt.Errorf("%s:%d: want APP-TARGET, profile and bytes above 0", name, n)
		}
		b := budget{measure.Image{App: app, Target: target, Profile: words[1]}, bytes}
		if seen[b.image] {
			return nil, fmt.Errorf("%s:%d: %s has a budget already", name, n, b.image)
		}
		seen[b.image] = true
		out = append(out, b)
	}
	return out, sc.Err()
}

// compare is one line about an image's size and its budget.
func compare(i measure.Image, size int64, budgets []budget) string {
	for _, b := range budgets {
		if b.image == i {
			return fmt.Sprintf("%s: %d bytes, budget %d, %+d (%+.1f%%)", i, size, b.bytes, size-b.bytes,
				100*float64(size-b.bytes)/float64(b.bytes))
		}
	}
	return fmt.Sprintf("%s: %d bytes, no budget", i, size)
}
