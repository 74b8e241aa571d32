package image

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Reference writes a description of all keys, in Markdown.
func Reference(w io.Writer) {
	seen := map[string]bool{}
	for _, app := range Apps {
		for _, t := range schemas(app) {
			if !seen[t.name] {
				seen[t.name] = true
				t.reference(w)
			}
		}
	}
}

func (t *table) reference(w io.Writer) {
	if t.name == "" {
		fmt.Fprint(w, "### The file itself\n\n")
	} else {
		fmt.Fprintf(w, "### %s\n\n%s.\n\n", t.name, strings.ToUpper(t.about[:1])+t.about[1:])
	}
	fmt.Fprint(w, "| key | meaning | value | if left out |\n|---|---|---|---|\n")
	for _, k := range t.keys {
		if t.name == "" && k.about == "" || isTable(k.want) && t.name == "" {
			continue // it has a part of its own
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", t.path(k.name), k.about, k.want, k.otherwise())
	}
	fmt.Fprintln(w)
}

func isTable(w want) bool { _, ok := w.(tables); return ok }

// otherwise is what holds when the key is left out.
func (k *key) otherwise() string {
	switch d := k.def.(type) {
	case nil:
		if k.absent == "" {
			return "an error: it must be there"
		}
		return k.absent
	case string:
		return strconv.Quote(d)
	default:
		return fmt.Sprint(d)
	}
}
