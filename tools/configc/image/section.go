package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/tools/configc/report"
	"ampoule/tools/configc/tree"
)

// section is a table of the configuration while it is checked against its
// schema.
type section struct {
	file   string
	schema *table
	table  *tree.Table
	list   *report.List
	lost   bool // something else stands in its place, which is reported
}

// open starts to read a table: keys that its schema does not know, and those
// that must be there and are not, are reported. others are the schemas of the
// whole image.
func open(file string, schema *table, t *tree.Table, list *report.List, others []*table) *section {
	s := &section{file: file, schema: schema, table: t, list: list}
	for _, name := range t.Keys {
		if schema.key(name) == nil {
			s.unknown(name, others)
		}
	}
	for _, k := range schema.keys {
		if k.def == nil && k.absent == "" && t.Values[k.name] == nil {
			s.missing(k.name)
		}
	}
	return s
}

// unknown says that there is no such key, and which may be meant.
func (s *section) unknown(name string, others []*table) {
	hint := ""
	if near := nearest(name, s.schema.names()); near != "" {
		hint = "did you mean " + s.schema.path(near) + "? "
	} else {
		for _, o := range others {
			if o != s.schema && o.key(name) != nil {
				hint = "did you mean " + o.path(name) + "? "
				break
			}
		}
	}
	if s.schema.name == "" && slices.Contains(Apps[:], name) {
		hint = "it belongs to an image of the " + name + " appliance; "
	}
	s.list.Errorf(s.file, s.table.Values[name].Line, "%s: no such key; %sallowed here: %s",
		s.schema.path(name), hint, strings.Join(s.schema.names(), ", "))
}

// errorf says what is wrong with a value: what was found and what is allowed.
func (s *section) errorf(key string, v *tree.Value, format string, args ...any) {
	s.list.Errorf(s.file, v.Line, "%s: found %s, must be %s", s.schema.path(key), v.Found(), fmt.Sprintf(format, args...))
}

// refuse says that a value is not what its schema wants.
func (s *section) refuse(key string, v *tree.Value) {
	w := s.schema.key(key).want
	quotes := ""
	switch w.(type) {
	case text, duration, size, choice:
		if _, ok := v.V.(string); !ok {
			quotes = ", in quotes"
		}
	}
	s.errorf(key, v, "%s%s", w, quotes)
}

// against says that a value does not go with something else.
func (s *section) against(key string, v *tree.Value, format string, args ...any) {
	s.list.Errorf(s.file, v.Line, "%s: found %s, %s", s.schema.path(key), v.Found(), fmt.Sprintf(format, args...))
}

// repeat says that a value is there a second time; the first is at line.
func (s *section) repeat(key string, v *tree.Value, line int) {
	s.against(key, v, "which is there already in line %d; must be there once", line)
}

// missing says that a key must be there.
func (s *section) missing(key string) {
	s.list.Errorf(s.file, s.table.Line, "%s: not there, must be %s", s.schema.path(key), s.schema.key(key).want)
}

// value returns the value of a key of the schema, or nil.
func (s *section) value(key string) *tree.Value {
	if s.schema.key(key) == nil {
		panic("no key " + key + " in the schema of " + s.schema.name)
	}
	return s.table.Values[key]
}

// has says whether a key is there.
func (s *section) has(key string) bool { return s.value(key) != nil }

// sub opens the table at key. One that is not there is empty.
func (s *section) sub(key string, schema *table, others []*table) *section {
	t := &tree.Table{Line: s.table.Line}
	if v := s.value(key); v != nil {
		found, ok := v.V.(*tree.Table)
		if !ok {
			s.refuse(key, v)
			return &section{s.file, schema, t, s.list, true}
		}
		t = found
	}
	return open(s.file, schema, t, s.list, others)
}

// text returns a string and its value, which is nil when there is none.
func (s *section) text(key string) (string, *tree.Value) {
	v := s.value(key)
	if v == nil {
		return "", nil
	}
	t, ok := v.V.(string)
	if !ok {
		s.refuse(key, v)
		return "", nil
	}
	return t, v
}

// integer returns a number; what is left out or wrong is the default.
func (s *section) integer(key string) int {
	k, v := s.schema.key(key), s.value(key)
	w := k.want.(integer)
	if v != nil {
		if n, ok := v.V.(int64); ok && n >= int64(w.low) && n <= int64(w.high) {
			return int(n)
		}
		s.refuse(key, v)
	}
	n, _ := k.def.(int)
	return n
}

// flag returns true or false.
func (s *section) flag(key string) bool {
	def, _ := s.schema.key(key).def.(bool)
	v := s.value(key)
	if v == nil {
		return def
	}
	b, ok := v.V.(bool)
	if !ok {
		s.refuse(key, v)
		return def
	}
	return b
}

// duration returns a time; 0 when it is left out and has no default.
func (s *section) duration(key string) time.Duration {
	k := s.schema.key(key)
	w := k.want.(duration)
	if t, v := s.text(key); v != nil {
		if d, err := time.ParseDuration(t); err == nil && d >= w.low && d <= w.high {
			return d
		}
		s.refuse(key, v)
	}
	def, _ := k.def.(string)
	d, _ := time.ParseDuration(def)
	return d
}

// size returns a number of bytes; 0 when it is left out and has no default.
func (s *section) size(key string) int {
	w := s.schema.key(key).want.(size)
	if t, v := s.text(key); v != nil {
		if n := parseSize(t); n >= w.low && n <= w.high {
			return n
		}
		s.refuse(key, v)
	}
	return 0
}

// choice returns the place of a word among those that are allowed.
func (s *section) choice(key string) int {
	k := s.schema.key(key)
	w := k.want.(choice)
	if t, v := s.text(key); v != nil {
		if i := slices.Index(w, t); i >= 0 {
			return i
		}
		if near := nearest(t, w); near != "" {
			s.errorf(key, v, "%s; did you mean %q?", w, near)
		} else {
			s.refuse(key, v)
		}
	}
	def, _ := k.def.(string)
	return max(slices.Index(w, def), 0)
}

// beside returns the path of a file that the configuration names: as it is, or
// from the folder of the configuration.
func (s *section) beside(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(s.file), name)
}

// read reads the file that a value names. When that fails it says so, and the
// result is nil.
func (s *section) read(key string, v *tree.Value, name string) []byte {
	info, err := os.Stat(name)
	var data []byte
	switch {
	case err == nil && !info.Mode().IsRegular():
		s.errorf(key, v, "a file; %s is none", name)
		return nil
	case err == nil:
		data, err = os.ReadFile(name)
	}
	var perr *os.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	if err != nil {
		s.errorf(key, v, "a file that can be read: %s: %v", name, err)
		return nil
	}
	if data == nil {
		data = []byte{}
	}
	return data
}
