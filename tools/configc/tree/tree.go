// Package tree reads a TOML 1.0 file into tables that know at which line each
// value stands.
package tree

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ampoule/tools/configc/report"
	"ampoule/tools/configc/secret"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Value is a string, int64, bool, []*Value or *Table in V. What no
// configuration here uses (float64 and dates) is an Other.
type Value struct {
	Line int
	V    any
}

// Other is the text of a value of a kind that has no use here.
type Other string

// Table is a set of values by key.
type Table struct {
	Line   int
	path   string   // of its name, with a dot behind it; "" for the file itself
	header int      // the line of its own header; 0: it has none
	Keys   []string // in the order of the file
	Values map[string]*Value
}

// Read reads a file. When it is not TOML, the one error goes to list and the
// result is nil.
func Read(file string, list *report.List) *Table {
	data, err := os.ReadFile(file)
	if err != nil {
		var perr *os.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		list.Errorf(file, 0, "can't be read: %v", err)
		return nil
	}
	if !secret.Check(file, data, list) {
		return nil
	}
	// The decoder has the place of a mistake in the syntax, and finds tables
	// that contradict each other and dates that don't exist. Keys that are
	// there twice are found by the walk, all of them.
	var all map[string]any
	bad := toml.Unmarshal(data, &all)
	root := newTable("", 1)
	r := reader{file: file, list: list}
	r.Reset(data)
	r.walk(root)
	if r.Error() == nil && (bad == nil || r.twice) {
		return root
	}
	line, found := 0, ""
	var derr *toml.DecodeError
	if errors.As(bad, &derr) {
		line, _ = derr.Position()
		if lines := strings.Split(string(data), "\n"); line > 0 && line <= len(lines) {
			found = fmt.Sprintf("; the line is: %s", strings.TrimSpace(lines[line-1]))
		}
	}
	list.Errorf(file, line, "not TOML: %s%s", strings.TrimPrefix(bad.Error(), "toml: "), found)
	return nil
}

func newTable(path string, line int) *Table {
	return &Table{Line: line, path: path, Values: map[string]*Value{}}
}

type reader struct {
	unstable.Parser
	file  string
	list  *report.List
	twice bool // a key was there already, which is reported
}

func (r *reader) line(n *unstable.Node) int { return r.Shape(n.Raw).Start.Line }

// walk puts all of the file into root.
func (r *reader) walk(root *Table) {
	for at := root; r.NextExpression(); {
		e := r.Expression()
		switch e.Kind {
		case unstable.Table:
			at = r.descend(root, e.Key(), false)
		case unstable.ArrayTable:
			at = r.descend(root, e.Key(), true)
		case unstable.KeyValue:
			r.keyValue(at, e)
		}
	}
}

// set puts a value at key, which must be free; the first one stays.
func (r *reader) set(t *Table, key string, v *Value) {
	if old, ok := t.Values[key]; ok {
		r.twice = true
		r.list.Errorf(r.file, v.Line, "%s: is there already in line %d; must be there once", t.path+key, old.Line)
		return
	}
	t.Keys = append(t.Keys, key)
	t.Values[key] = v
}

// child returns the table at key, the last one if there are several. What is
// below something that is no table is lost, which the decoder complains of.
func (r *reader) child(t *Table, key string, line int) *Table {
	v := t.Values[key]
	if v == nil {
		sub := newTable(t.path+key+".", line)
		r.set(t, key, &Value{line, sub})
		return sub
	}
	switch v := v.V.(type) {
	case *Table:
		return v
	case []*Value:
		if len(v) > 0 {
			if sub, ok := v[len(v)-1].V.(*Table); ok {
				return sub
			}
		}
	}
	return newTable(t.path+key+".", line)
}

// descend goes to the table that a header names and makes what is not there.
func (r *reader) descend(t *Table, key unstable.Iterator, array bool) *Table {
	for key.Next() {
		n := key.Node()
		name, line := string(n.Data), r.line(n)
		if !array || !key.IsLast() {
			t = r.child(t, name, line)
			if key.IsLast() {
				r.header(t, line)
			}
			continue
		}
		v := t.Values[name]
		if v == nil {
			v = &Value{line, []*Value(nil)}
			r.set(t, name, v)
		}
		items, ok := v.V.([]*Value)
		sub := newTable(t.path+name+".", line)
		if ok {
			v.V = append(items, &Value{line, sub})
		}
		t = sub
	}
	return t
}

// header takes note that t has a header of its own, and refuses a second one.
func (r *reader) header(t *Table, line int) {
	if t.header > 0 {
		r.twice = true
		r.list.Errorf(r.file, line, "[%s]: is there already in line %d; must be there once", strings.TrimSuffix(t.path, "."), t.header)
	}
	t.header, t.Line = line, line
}

func (r *reader) keyValue(t *Table, e *unstable.Node) {
	key := e.Key()
	for key.Next() {
		n := key.Node()
		if name, line := string(n.Data), r.line(n); !key.IsLast() {
			t = r.child(t, name, line)
		} else {
			r.set(t, name, r.value(e.Value(), line))
		}
	}
}

// value converts a value; line is where its key stands.
func (r *reader) value(n *unstable.Node, line int) *Value {
	if n.Raw.Length > 0 {
		line = r.line(n)
	}
	switch n.Kind {
	case unstable.String:
		return &Value{line, string(n.Data)}
	case unstable.Bool:
		return &Value{line, string(n.Data) == "true"}
	case unstable.Integer:
		i, err := strconv.ParseInt(strings.ReplaceAll(string(n.Data), "_", ""), 0, 64)
		if err != nil {
			return &Value{line, Other(n.Data)}
		}
		return &Value{line, i}
	case unstable.Array:
		list := []*Value{}
		for it := n.Children(); it.Next(); {
			if it.Node().Kind != unstable.Comment {
				list = append(list, r.value(it.Node(), line))
			}
		}
		return &Value{line, list}
	case unstable.InlineTable:
		t := newTable("", line)
		for it := n.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				r.keyValue(t, it.Node())
			}
		}
		return &Value{line, t}
	}
	return &Value{line, Other(n.Data)}
}

// Found describes the value as an error message shows it.
func (v *Value) Found() string {
	switch x := v.V.(type) {
	case string:
		return strconv.Quote(x)
	case []*Value:
		return fmt.Sprintf("a list of %d", len(x))
	case *Table:
		return "a table"
	}
	return fmt.Sprint(v.V)
}
