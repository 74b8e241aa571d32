// Package report collects what is wrong with an operator's files, so that one
// run shows all of it.
package report

import (
	"cmp"
	"fmt"
	"slices"
)

// Problem is one thing that is wrong, at one line of one file.
type Problem struct {
	File    string
	Line    int // from 1; 0 is the file as a whole
	Warning bool
	Text    string
}

// String is the problem as one line, in the form that editors jump to.
func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Warning {
		return place + ": warning: " + p.Text
	}
	return place + ": " + p.Text
}

// List is what has been found so far. The zero List is empty.
type List struct {
	problems []Problem
}

// Errorf adds an error: nothing is built.
func (l *List) Errorf(file string, line int, format string, args ...any) {
	l.problems = append(l.problems, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning: it is shown, and the build goes on.
func (l *List) Warnf(file string, line int, format string, args ...any) {
	l.problems = append(l.problems, Problem{file, line, true, fmt.Sprintf(format, args...)})
}

// Failed says whether there is an error among the problems.
func (l *List) Failed() bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return !p.Warning })
}

// Problems returns what was found, each once, by file in the order in which
// files came up, and by line.
func (l *List) Problems() []Problem {
	order := map[string]int{}
	for _, p := range l.problems {
		if _, ok := order[p.File]; !ok {
			order[p.File] = len(order)
		}
	}
	sorted := slices.Clone(l.problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(sorted)
}
