package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"ampoule/tools/ampctl/client"
)

// answer is what an appliance said: as rows of a table or as text, and for JSON.
type answer struct {
	rows [][]string
	text []byte
	json any
}

// parallel is how many appliances are asked at a time where nothing is said.
const parallel = 16

// each asks all appliances that the command line picks, some at a time, and prints
// what they answer, in order: a table if there is a header. One that fails does not
// keep the others from being asked. ask is told whether there are many.
func (a *app) each(ctx context.Context, header []string, ask func(ctx context.Context, t *target, many bool) (answer, error)) error {
	all, close, err := a.targets()
	if err != nil {
		return err
	}
	defer close()
	answers, problems := make([]answer, len(all)), make([]error, len(all))
	var wait sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, t := range all {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			answers[i], problems[i] = ask(ctx, t, len(all) > 1)
		})
	}
	wait.Wait()
	var class client.Class
	var rows [][]string
	for i, t := range all {
		if problems[i] != nil {
			class = max(class, a.tell(t.name, problems[i]))
			continue
		}
		if a.output == "json" {
			a.json(map[string]any{"appliance": t.name, "result": answers[i].json})
			continue
		}
		for _, row := range answers[i].rows {
			rows = append(rows, append([]string{t.name}, row...))
		}
		if answers[i].text != nil {
			if len(all) > 1 {
				fmt.Fprintf(a.out, "# %s\n", t.name)
			}
			a.out.Write([]byte(clean(string(answers[i].text))))
		}
	}
	if len(rows) > 0 {
		table(a.out, append([]string{"APPLIANCE"}, header...), rows)
	}
	if class != 0 {
		return ended(class)
	}
	return nil
}

// tell tells why an appliance failed.
func (a *app) tell(name string, err error) client.Class {
	var e *client.Error
	if !errors.As(err, &e) {
		e = local(err)
	}
	fmt.Fprintf(a.Err, "ampctl: %s: %s\n", name, clean(e.Error()))
	if a.output == "json" {
		a.json(map[string]any{"appliance": name, "error": e})
	}
	return e.Class
}

// table writes rows below a header.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(cell))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// clean is text that can be shown on a terminal: what comes from an appliance may
// have been put there by somebody else (a name in a query that was logged, say), and
// must not steer the terminal.
func clean(s string) string {
	plain := true
	for _, r := range s {
		plain = plain && (r == '\n' || r == '\t' || r != utf8.RuneError && strconv.IsPrint(r))
	}
	if plain {
		return s
	}
	var b bytes.Buffer
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t' || strconv.IsPrint(r):
			b.WriteString(s[i : i+n])
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}

// at is a time for people.
func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// left is how long until t, for people.
func left(now, t time.Time) string {
	switch d := t.Sub(now); {
	case d < 0:
		return "expired " + at(t)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d/time.Hour))
	default:
		return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
	}
}

// compact is JSON on one line, with escapes in place of what a terminal would obey; what
// is no JSON is a string of it.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		text, _ := json.Marshal(string(raw)) // of a string: no error
		b.Reset()
		b.Write(text)
	}
	var out []byte
	for _, r := range b.String() { // such characters are in strings only
		switch {
		case strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
