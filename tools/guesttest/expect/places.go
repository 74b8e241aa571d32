package expect

import (
	"fmt"
	"strconv"
	"strings"
)

// Places is what a guest says of its memory map (bare.PrintPlaces): names and
// addresses, or sizes in bytes.
type Places map[string]uint64

// PlacesPrefix begins the line.
const PlacesPrefix = "places: "

// ParsePlaces reads the line.
func ParsePlaces(line string) (Places, error) {
	text, ok := strings.CutPrefix(line, PlacesPrefix)
	if !ok {
		return nil, fmt.Errorf("%q does not begin with %q", line, PlacesPrefix)
	}
	at := Places{}
	for w := range strings.FieldsSeq(text) {
		name, number, _ := strings.Cut(w, "=")
		v, err := strconv.ParseUint(number, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %s: %w", line, name, err)
		}
		at[name] = v
	}
	return at, nil
}
