package metrics

import (
	"math"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	var w Writer
	w.One("a_total", Counter, "First \\ line\nsecond.", math.MaxUint64)
	w.Family("b", Gauge, "B.")
	w.Signed(-3, Label{"x", "quote \" back \\ line\n"}, Label{"y", ""})
	w.Bool(true)
	for _, ns := range []int64{0, 1, 1e9, 1500000000, -1500000000, 10, math.MinInt64} {
		w.Seconds(ns)
	}
	want := `# HELP a_total First \\ line\nsecond.
# TYPE a_total counter
a_total 18446744073709551615
# HELP b B.
# TYPE b gauge
b{x="quote \" back \\ line\n",y=""} -3
b 1
b 0
b 0.000000001
b 1
b 1.5
b -1.5
b 0.00000001
b -9223372036.854775808
`
	if got := string(w.Bytes()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestHistograms(t *testing.T) {
	var w Writer
	var s Sizes
	for _, n := range []int{0, 63, 64, 1232, 65535, 70000} {
		s.Add(n)
	}
	s.AddMany(512, 4)
	w.Family("size", Histogram, "S.")
	w.Sizes(&s, Label{"l", "v"})
	var h Times
	for _, ns := range []int64{-5, 0, 1023, 1024, 2047, 2048, 5e9, 1e12} {
		h.Add(ns)
	}
	w.Family("time", Histogram, "T.")
	w.Times(&h)
	text := string(w.Bytes())
	for _, line := range []string{
		`size_bucket{l="v",le="63"} 2`, `size_bucket{l="v",le="127"} 3`, `size_bucket{l="v",le="1023"} 7`, `size_bucket{l="v",le="2047"} 8`,
		`size_bucket{l="v",le="65535"} 9`, `size_bucket{l="v",le="+Inf"} 10`, `size_sum{l="v"} 136894`, `size_count{l="v"} 10`,
		`time_bucket{le="0.000002048"} 5`, `time_bucket{le="0.000008192"} 6`, `time_bucket{le="8.589934592"} 7`, `time_bucket{le="+Inf"} 8`,
		`time_sum 1005.000006142`, `time_count 8`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
}
