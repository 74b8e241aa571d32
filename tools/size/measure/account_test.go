package measure

import "testing"

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"runtime.mallocgc":                                            "runtime",
		"gvisor.dev/gvisor/pkg/tcpip/stack.(*nic).x":                  "gvisor.dev/gvisor/pkg/tcpip/stack",
		"internal/sync.(*HashTrieMap[go.shape.int,a/b.c]).Load":       "internal/sync",
		"github.com/google/btree.(*node[go.shape.struct{ a/b.C }]).x": "github.com/google/btree",
		"type:.eq.[2]string":                                          Types,
		"type:.eq.a/b.T":                                              Types,
		"go:itab.*a/b.T,error":                                        Types,
		"net/netip..dict.F[string]":                                   "net/netip",
		"go:buildinfo":                                                Linker,
		"$f64.3ff0000000000000":                                       Linker,
		"go.shape.struct { a/b.C; d e/f.G }.m":                        Types,
		"type:.eq.struct { a/b.C; d e/f.G }":                          Types,
		".gcmask.compress/flate.x":                                    Types,
		"masks":                                                       Assembly,
	} {
		if got := PackageOf(symbol); got != want {
			t.Errorf("%s: %s, want %s", symbol, got, want)
		}
	}
}
