package main

import (
	"bytes"
	"encoding/xml"
	"fmt"

	"ampoule/tools/size/measure"
)

// text is the graph as a table: sections, and their modules below each.
func (g *graph) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %d bytes\n\n", g.title, g.size)
	fmt.Fprintf(&b, "%9s %9s %9s %9s\n", "bytes", "code", "data", "tables")
	row := func(n measure.Bytes, indent, name string) {
		fmt.Fprintf(&b, "%9d %9d %9d %9d  %s%s\n", n.Sum(), n.Code, n.Data, n.Tables, indent, name)
	}
	var all measure.Bytes
	for _, s := range g.sections {
		row(s.sum(), "", s.heading())
		for _, m := range s.modules {
			row(m.bytes, "    ", m.label())
		}
		all = all.Plus(s.sum(), 1)
		fmt.Fprintln(&b)
	}
	row(all, "", "the image")
	return b.Bytes()
}

// heading is a section's title, and what it is about.
func (s *section) heading() string {
	if s.about == "" {
		return s.title
	}
	return s.title + ": " + s.about
}

// Places and sizes in the drawing, in pixels.
const (
	rowHeight  = 18
	gap        = 12 // between sections
	top        = 76
	imageX     = 10
	imageW     = 120
	sectionX   = 190
	sectionW   = 330
	moduleX    = 590
	barX       = 1000
	barW       = 300
	width      = barX + barW + 90
	characters = 52 // that fit into a section's box
)

// colours of code, data and tables.
var colours = [3]string{"#4477aa", "#ccbb44", "#66ccee"}

// svg is the graph as a drawing: the image, its sections, their modules, and a
// bar for the bytes of each module.
func (g *graph) svg() []byte {
	d := &drawing{}
	y, most := top, int64(1)
	for _, s := range g.sections {
		y += len(s.modules)*rowHeight + gap
		for _, m := range s.modules {
			most = max(most, m.bytes.Sum())
		}
	}
	height := y + gap
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	d.box(0, 0, width, height, "#ffffff", "none", "")
	d.label(imageX, 28, "start", fmt.Sprintf("%s: %d bytes", g.title, g.size), ` font-size="18"`)
	for i, name := range []string{"code", "data", "tables"} {
		d.box(barX+i*90, 40, 12, 12, colours[i], "none", "")
		d.label(barX+i*90+18, 51, "start", name, "")
	}
	middle := (top + y) / 2
	d.box(imageX, middle-24, imageW, 48, "#eeeeee", "#555555", "")
	d.label(imageX+imageW/2, middle-4, "middle", "the image", "")
	d.label(imageX+imageW/2, middle+14, "middle", fmt.Sprint(g.size), "")
	y = top
	for _, s := range g.sections {
		h := len(s.modules) * rowHeight
		n := s.sum().Sum()
		d.edge(imageX+imageW, middle, sectionX, y+h/2, g.thickness(n))
		d.section(&s, y, h)
		for i, m := range s.modules {
			at := y + i*rowHeight
			d.edge(sectionX+sectionW, y+h/2, moduleX, at+rowHeight/2, g.thickness(m.bytes.Sum()))
			d.module(&m, at, most)
		}
		y += h + gap
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// thickness of an edge that stands for n bytes, in tenths of a pixel.
func (g *graph) thickness(n int64) int {
	return 5 + int(max(n, 0)*200/max(g.size, 1))
}

// drawing collects SVG elements.
type drawing struct{ bytes.Buffer }

// box draws a rectangle, with a text that is shown where it is pointed at.
func (d *drawing) box(x, y, w, h int, fill, stroke, title string) {
	fmt.Fprintf(d, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s" stroke="%s">`, x, y, w, h, fill, stroke)
	if title != "" {
		fmt.Fprintf(d, "<title>%s</title>", escaped(title))
	}
	d.WriteString("</rect>\n")
}

func (d *drawing) label(x, y int, anchor, text, more string) {
	fmt.Fprintf(d, `<text x="%d" y="%d" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, more, escaped(text))
}

func (d *drawing) edge(x1, y1, x2, y2, tenths int) {
	bend := (x1 + x2) / 2
	fmt.Fprintf(d, `<path d="M%d %d C%d %d %d %d %d %d" fill="none" stroke="#999999" stroke-width="%d.%d"/>`+"\n",
		x1, y1, bend, y1, bend, y2, x2, y2, tenths/10, tenths%10)
}

// section draws the box of a section; one of a single row has one line.
func (d *drawing) section(s *section, y, h int) {
	d.box(sectionX, y, sectionW, h-2, "#eef4ee", "#555555", s.heading())
	n := fmt.Sprintf("%d bytes", s.sum().Sum())
	if h < 2*rowHeight {
		d.label(sectionX+8, y+13, "start", cut(s.title+", "+n), "")
		return
	}
	d.label(sectionX+8, y+h/2-4, "start", cut(s.title), ` font-weight="bold"`)
	if s.about != "" {
		n += ": " + s.about
	}
	d.label(sectionX+8, y+h/2+12, "start", cut(n), "")
}

// module draws a module's name and the bar of its bytes.
func (d *drawing) module(m *module, y int, most int64) {
	d.label(moduleX+4, y+13, "start", m.label(), "")
	x := barX
	for i, n := range []int64{m.bytes.Code, m.bytes.Data, m.bytes.Tables} {
		w := int(max(n, 0) * barW / most)
		if w > 0 {
			d.box(x, y+3, w, rowHeight-6, colours[i], "none", fmt.Sprintf("%s: code %d, data %d, tables %d bytes",
				m.label(), m.bytes.Code, m.bytes.Data, m.bytes.Tables))
		}
		x += w
	}
	d.label(x+6, y+13, "start", fmt.Sprint(m.bytes.Sum()), "")
}

// cut shortens a text to what fits into a section's box.
func cut(s string) string {
	if r := []rune(s); len(r) > characters {
		return string(r[:characters-3]) + "..."
	}
	return s
}

func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a buffer takes all
	}
	return b.String()
}
