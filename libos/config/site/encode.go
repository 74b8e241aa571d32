package site

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"ampoule/libos/format"
)

var le = binary.LittleEndian

// Compile makes a Table of a site. It fails on what a table cannot hold: a path or a
// name that is there twice, no host, header fields that are none, more than 65,535
// hosts or 4 GiB.
func Compile(s *Site) (Table, error) {
	if len(s.Hosts) == 0 || len(s.Hosts) > math.MaxUint16-1 || s.Other < -1 || s.Other >= len(s.Hosts) {
		return "", format.Errorf("site: %d hosts, and %d for other names", len(s.Hosts), s.Other)
	}
	c := compiler{pool: map[string]int{}, taken: map[string]bool{}}
	c.b = make([]byte, headerSize)
	copy(c.b, magic)
	boundary := boundaryFor(s)
	hosts := len(c.b)
	c.b = append(c.b, make([]byte, hostSize*len(s.Hosts))...)
	for i := range s.Hosts {
		if err := c.host(i, &s.Hosts[i], hosts+i*hostSize); err != nil {
			return "", err
		}
	}
	c.align()
	names, nmask := c.slots(c.names)
	paths, pmask := c.slots(c.paths)
	le.PutUint32(c.b[28:], uint32(c.text(boundary)))
	le.PutUint16(c.b[32:], uint16(len(boundary)))
	if len(c.b) > math.MaxUint32 {
		return "", format.Errorf("site: %d bytes, the most is %d", len(c.b), uint32(math.MaxUint32))
	}
	for i, v := range []int{hosts, len(s.Hosts), names, nmask, paths, pmask} {
		le.PutUint32(c.b[4+4*i:], uint32(v))
	}
	le.PutUint16(c.b[34:], uint16(s.Other+1))
	if c.wild {
		le.PutUint16(c.b[36:], 1)
	}
	le.PutUint32(c.b[40:], uint32(len(c.b)))
	return Table(c.b), nil
}

// compiler makes a Table.
type compiler struct {
	b     []byte
	pool  map[string]int  // offsets of texts
	taken map[string]bool // names of hosts
	names []entry
	paths []entry
	wild  bool
}

// entry is one of a hash table.
type entry struct {
	hash uint64
	at   int
}

// text returns the offset of s, which is in the table once.
func (c *compiler) text(s string) int {
	at, ok := c.pool[s]
	if !ok {
		at = len(c.b)
		c.b = append(c.b, s...)
		c.pool[s] = at
	}
	return at
}

func (c *compiler) align() {
	for len(c.b)%4 != 0 {
		c.b = append(c.b, 0)
	}
}

func (c *compiler) host(i int, h *Host, at int) error {
	for _, name := range h.Names {
		if name == "" || len(name) > 255 || name != strings.ToLower(name) || c.taken[name] {
			return format.Errorf("site: host name %q is there twice or none", name)
		}
		c.taken[name] = true
		c.wild = c.wild || strings.HasPrefix(name, "*.")
		c.align()
		c.names = append(c.names, entry{hash(0, []byte(name)), len(c.b)})
		c.b = le.AppendUint16(c.b, uint16(i))
		c.b = append(le.AppendUint16(c.b, uint16(len(name))), name...)
	}
	seen := map[string]bool{}
	for j := range h.Resources {
		r := &h.Resources[j]
		if seen[r.Path] || !strings.HasPrefix(r.Path, "/") {
			return format.Errorf("site: path %q is there twice or none", r.Path)
		}
		seen[r.Path] = true
		at, err := c.resource(i, r)
		if err != nil {
			return err
		}
		c.paths = append(c.paths, entry{hash(uint64(i), []byte(r.Path)), at})
	}
	return c.errors(i, h, at)
}

// errors writes the pages of all errors, and their list.
func (c *compiler) errors(i int, h *Host, host int) error {
	var list []byte
	for _, status := range ErrorStatuses {
		page := plain(status, h.ErrorFields)
		for _, r := range h.Errors {
			if r.Status == status {
				page = r
			}
		}
		at, err := c.resource(i, &page)
		if err != nil {
			return err
		}
		list = le.AppendUint32(le.AppendUint32(list, uint32(status)), uint32(at))
	}
	for _, r := range h.Errors {
		if r.Status < 400 {
			return format.Errorf("site: a page for status %d, which is no error", r.Status)
		}
	}
	c.align()
	le.PutUint32(c.b[host:], uint32(len(c.b)))
	c.b = append(append(c.b, list...), make([]byte, 8)...)
	return nil
}

// resource writes a resource and returns where.
func (c *compiler) resource(host int, r *Resource) (int, error) {
	if err := r.validate(); err != nil {
		return 0, format.Errorf("site: %q: %w", r.Path, err)
	}
	var flags byte
	if r.Location != "" {
		flags |= redirect
	}
	if r.KeepQuery {
		flags |= keepQuery
	}
	variants := r.sorted()
	var rec []byte
	rec = le.AppendUint16(le.AppendUint16(rec, uint16(host)), uint16(len(r.Path)))
	rec = le.AppendUint32(rec, uint32(c.text(r.Path)))
	rec = append(le.AppendUint16(rec, uint16(r.Status)), flags, byte(len(variants)))
	rec = le.AppendUint32(rec, uint32(c.text(r.Fields)))
	rec = le.AppendUint32(le.AppendUint32(rec, uint32(len(r.Fields))), 0)
	rec = le.AppendUint64(rec, uint64(r.Modified))
	for i := range variants {
		v := &variants[i]
		block, places := r.head(v)
		at := c.text(block)
		tag := 0
		if v.Tag != "" {
			tag = len(v.Tag) + 2
		}
		rec = le.AppendUint16(append(rec, byte(v.Coding), 0), uint16(tag))
		rec = le.AppendUint32(rec, uint32(at))
		for _, p := range places {
			rec = le.AppendUint32(rec, uint32(at+p))
		}
		rec = le.AppendUint32(le.AppendUint32(rec, uint32(c.text(v.Body))), uint32(len(v.Body)))
	}
	c.align()
	at := len(c.b)
	c.b = append(c.b, rec...)
	return at, nil
}

// slots writes a hash table, at most half full, and returns its place and mask.
func (c *compiler) slots(all []entry) (at, mask int) {
	count := 2
	for count < 2*len(all) {
		count *= 2
	}
	at = len(c.b)
	t := make([]byte, count*slotSize)
	for _, e := range all {
		s := int(e.hash) & (count - 1)
		for le.Uint32(t[s*slotSize+4:]) != 0 {
			s = (s + 1) & (count - 1)
		}
		le.PutUint32(t[s*slotSize:], uint32(e.hash>>32))
		le.PutUint32(t[s*slotSize+4:], uint32(e.at))
	}
	c.b = append(c.b, t...)
	return at, count - 1
}

// boundaryFor returns a boundary that is in no body of the site (RFC 2046, section
// 5.1.1).
func boundaryFor(s *Site) string {
	for n := 0; ; n++ {
		boundary := "ampoule-" + strconv.Itoa(n) + "-part"
		found := false
		for i := range s.Hosts {
			for j := range s.Hosts[i].Resources {
				for _, v := range s.Hosts[i].Resources[j].Variants {
					found = found || strings.Contains(v.Body, "--"+boundary)
				}
			}
		}
		if !found {
			return boundary
		}
	}
}
