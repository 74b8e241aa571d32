package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/tools/workspace"
)

// entry is a made-up vulnerability: a function of a package of a module, in all
// versions.
type entry struct{ id, module, path, symbol string }

// database writes a vulnerability database (go.dev/security/vuln/database, v1)
// and gives its address.
func database(t *testing.T, entries ...entry) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	modules, vulns := []object{}, []object{}
	for _, e := range entries {
		modules = append(modules, object{"path": e.module, "vulns": []object{{"id": e.id, "modified": now}}})
		vulns = append(vulns, object{"id": e.id, "modified": now})
		put("ID/"+e.id+".json", object{"schema_version": "1.3.1", "id": e.id, "modified": now, "published": now,
			"summary": "made up", "details": "made up for a test",
			"affected": []object{{
				"package":            object{"name": e.module, "ecosystem": "Go"},
				"ranges":             []object{{"type": "SEMVER", "events": []object{{"introduced": "0"}}}},
				"ecosystem_specific": object{"imports": []object{{"path": e.path, "symbols": []string{e.symbol}}}},
			}},
			"database_specific": object{"url": "https://pkg.go.dev/vuln/" + e.id, "review_status": "REVIEWED"},
		})
	}
	put("index/db.json", object{"modified": now})
	put("index/modules.json", modules)
	put("index/vulns.json", vulns)
	return "file://" + dir
}

// TestAudit: what is linked is found, in our modules' dependencies and in the
// standard library; what is not linked is not; and a database that cannot be
// read is no good news.
func TestAudit(t *testing.T) {
	once := sync.OnceValues(func() (string, error) {
		root, err := workspace.Root()
		if err != nil {
			return "", err
		}
		return build(t.Context(), root, "echo-virtio")
	})
	stack := entry{"GO-2099-0001", "gvisor.dev/gvisor", "gvisor.dev/gvisor/pkg/tcpip/stack", "New"}
	std := entry{"GO-2099-0002", "stdlib", "time", "Sleep"}
	for _, tc := range []struct {
		name string
		db   string
		code int
		want []string
		not  []string
	}{
		{"nothing known", database(t), clean, []string{"no known vulnerability in echo-virtio"}, []string{"GO-2099"}},
		{"a linked function", database(t, stack), vulnerable, []string{stack.id, "stack.New", "VULNERABLE"}, nil},
		{"a function of the standard library", database(t, std), vulnerable, []string{std.id, "VULNERABLE"}, nil},
		{"a function that is not linked", database(t, entry{"GO-2099-0003", "gvisor.dev/gvisor", "gvisor.dev/gvisor/pkg/sentry/kernel", "New"}),
			clean, []string{"no known vulnerability"}, nil},
		{"no database", "file:///nowhere/at/all", unchecked, []string{"NOT CHECKED: echo-virtio", "THE AUDIT IS NOT COMPLETE"}, []string{"no known"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			code := run(t.Context(), &out, tc.db, []string{"echo-virtio"}, func(context.Context, string, string) (string, error) { return once() })
			if code != tc.code {
				t.Errorf("code %d, want %d:\n%s", code, tc.code, &out)
			}
			for _, w := range tc.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("nothing of %q in\n%s", w, &out)
				}
			}
			for _, w := range tc.not {
				if strings.Contains(out.String(), w) {
					t.Errorf("%q in\n%s", w, &out)
				}
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, images := range [][]string{nil, {"echo"}, {"echo-vmware"}} {
		var out strings.Builder
		if code := run(t.Context(), &out, database(t), images, build); code != unchecked {
			t.Errorf("%v: code %d\n%s", images, code, &out)
		}
	}
}
