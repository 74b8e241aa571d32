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
	// The decoder finds what a walk over the syntax does not: keys that are
	// there twice, tables that contradict each other, dates that don't exist.
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		line := 0
		var derr *toml.DecodeError
		if errors.As(err, &derr) {
			line, _ = derr.Position()
		}
		list.Errorf(file, line, "not TOML: %s", strings.TrimPrefix(err.Error(), "toml: "))
		return nil
	}
	root := newTable(1)
	r := reader{}
	r.Reset(data)
	at := root
	for r.NextExpression() {
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
	if err := r.Error(); err != nil {
		list.Errorf(file, 0, "not TOML: %v", err)
		return nil
	}
	return root
}

func newTable(line int) *Table { return &Table{Line: line, Values: map[string]*Value{}} }

func (t *Table) set(key string, v *Value) {
	if _, ok := t.Values[key]; !ok {
		t.Keys = append(t.Keys, key)
	}
	t.Values[key] = v
}

// child returns the table at key, the last one if there are several.
func (t *Table) child(key string, line int) *Table {
	if v := t.Values[key]; v != nil {
		switch v := v.V.(type) {
		case *Table:
			return v
		case []*Value:
			return v[len(v)-1].V.(*Table)
		}
	}
	sub := newTable(line)
	t.set(key, &Value{line, sub})
	return sub
}

type reader struct{ unstable.Parser }

func (r *reader) line(n *unstable.Node) int { return r.Shape(n.Raw).Start.Line }

// descend goes to the table that a header names and makes what is not there.
func (r *reader) descend(t *Table, key unstable.Iterator, array bool) *Table {
	for key.Next() {
		n := key.Node()
		name, line := string(n.Data), r.line(n)
		if !array || n.Next() != nil {
			t = t.child(name, line)
			continue
		}
		v := t.Values[name]
		if v == nil {
			v = &Value{line, []*Value(nil)}
			t.set(name, v)
		}
		sub := newTable(line)
		v.V = append(v.V.([]*Value), &Value{line, sub})
		t = sub
	}
	return t
}

func (r *reader) keyValue(t *Table, e *unstable.Node) {
	key := e.Key()
	for key.Next() {
		n := key.Node()
		if name, line := string(n.Data), r.line(n); n.Next() != nil {
			t = t.child(name, line)
		} else {
			t.set(name, r.value(e.Value(), line))
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
		t := newTable(line)
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
