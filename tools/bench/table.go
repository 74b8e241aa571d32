package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// table prints a column for each appliance.
func table(w io.Writer, figures []*Figures) {
	row := func(name string, cell func(*Figures) string) {
		fmt.Fprintf(w, "%-52s", name)
		for _, f := range figures {
			fmt.Fprintf(w, " %16s", cell(f))
		}
		fmt.Fprintln(w)
	}
	row("", func(f *Figures) string { return f.App })
	row("image, bytes", func(f *Figures) string { return group(float64(f.ImageBytes)) })
	row("smallest RAM that serves, MiB", func(f *Figures) string { return unless(f.MinRAM == 0, fmt.Sprint(f.MinRAM)) })
	row("idle, percent of a host CPU", func(f *Figures) string { return unless(f.MinRAM == 0, fmt.Sprintf("%.2f", f.IdleCPU)) })
	for _, p := range []struct {
		name string
		get  func(*Figures) Point
	}{
		{"start to first answer", func(f *Figures) Point { return f.Boot }},
		{"one UDP request, lone", func(f *Figures) Point { return f.Lone }},
		{"one UDP request, saturated", func(f *Figures) Point { return f.Saturated }},
	} {
		row(p.name+", instructions", func(f *Figures) string { return group(p.get(f).Plain) })
		row("  with each iteration of rep", func(f *Figures) string { return group(p.get(f).Instructions) })
		row("  spread of the runs, percent", func(f *Figures) string { return fmt.Sprintf("%.1f", p.get(f).Spread) })
	}
	for _, p := range []struct {
		name string
		get  func(*TCP) *Point
	}{
		{"one TCP request, kept alive, lone", func(t *TCP) *Point { return &t.Lone }},
		{"one TCP request, kept alive, saturated", func(t *TCP) *Point { return &t.Saturated }},
		{"one TCP connection with a request", func(t *TCP) *Point { return &t.Connect }},
		{"one MiB there and back", func(t *TCP) *Point { return t.Bulk }},
	} {
		cell := func(f *Figures, form func(*Point) string) string {
			if f.TCP == nil || p.get(f.TCP) == nil {
				return "-"
			}
			return form(p.get(f.TCP))
		}
		row(p.name+", instructions", func(f *Figures) string {
			return cell(f, func(p *Point) string { return group(p.Plain) })
		})
		row("  spread of the runs, percent", func(f *Figures) string {
			return cell(f, func(p *Point) string { return fmt.Sprintf("%.1f", p.Spread) })
		})
	}
	for _, f := range figures {
		if f.Lone.Retries+f.Saturated.Retries > 0 {
			fmt.Fprintf(w, "%s: %d lone and %d saturated requests were sent again after a second\n", f.App, f.Lone.Retries, f.Saturated.Retries)
		}
	}
	if len(figures) > 0 {
		fmt.Fprintf(w, "(%s, -cpu %s, %s network)\n", figures[0].Machine, figures[0].CPU, figures[0].Network)
	}
}

// unless is cell, or a dash for what was not measured.
func unless(missing bool, cell string) string {
	if missing {
		return "-"
	}
	return cell
}

// group writes a whole number with commas.
func group(v float64) string {
	s := fmt.Sprint(int64(math.Round(v)))
	var b strings.Builder
	for i, d := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
