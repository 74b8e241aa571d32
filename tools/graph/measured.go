package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ampoule/boot/image"
	configimage "ampoule/tools/configc/image"
	"ampoule/tools/configc/report"
	"ampoule/tools/configc/tree"
	"ampoule/tools/size/measure"
)

// measured builds an image as it ships, with symbols, and without each part of
// its configuration, below dir, and compares them.
func measured(root string, i measure.Image, config, dir string) (*graph, error) {
	// Signatures of zones are to be the same in all of them.
	if os.Getenv("SOURCE_DATE_EPOCH") == "" {
		if err := os.Setenv("SOURCE_DATE_EPOCH", strconv.FormatInt(time.Now().Unix(), 10)); err != nil {
			return nil, err
		}
	}
	var list report.List
	img := configimage.Load(config, i.App, &list)
	if list.Failed() {
		var err error
		for _, p := range list.Problems() {
			err = errors.Join(err, fmt.Errorf("%v", p))
		}
		return nil, err
	}
	b := builder{root: root, image: i, config: config, dir: dir, own: zones(img)}
	size, err := b.ships()
	if err != nil {
		return nil, err
	}
	m := measurement{size: size, parts: img.Parts(), without: map[string]measure.Account{}}
	if m.full, err = b.account(""); err != nil {
		return nil, err
	}
	m.plain = b.plain
	var all []string
	for _, p := range m.parts {
		if m.without[p.Name], err = b.account(p.Name); err != nil {
			return nil, err
		}
		all = append(all, p.Name)
	}
	m.base = m.full
	if len(all) > 0 {
		if m.base, err = b.account(strings.Join(all, ",")); err != nil {
			return nil, err
		}
	}
	t := tree.Read(config, &list)
	if t == nil {
		return nil, fmt.Errorf("%s has changed", config)
	}
	m.title = func(p configimage.Part) string { return where(t, p.Keys) }
	return m.compose(), nil
}

// zones are the tables that are compiled in, by the names that they get.
func zones(img *configimage.Image) map[string]string {
	own := map[string]string{}
	for _, z := range img.DNS.Zones {
		own["(table of the zone "+z.Origin+")"] = string(z.Table)
	}
	return own
}

// builder builds one image with more and with less.
type builder struct {
	root        string
	image       measure.Image
	config, dir string
	own         map[string]string
	seed        string
	plain       int64 // size of the whole image before packing
	shipped     []byte
}

// ships builds the image as it ships and returns its size. All others get its
// seed, so that they are laid out alike.
func (b *builder) ships() (int64, error) {
	out := filepath.Join(b.dir, "ships", b.image.App+".elf")
	if err := measure.Build(b.root, b.image, b.config, out, "-work="+filepath.Join(b.dir, "work")); err != nil {
		return 0, err
	}
	var manifest struct{ Seed string }
	j, err := os.ReadFile(filepath.Join(filepath.Dir(out), "manifest.json"))
	if err == nil {
		err = json.Unmarshal(j, &manifest)
	}
	if err != nil {
		return 0, fmt.Errorf("manifest of %s: %w", out, err)
	}
	b.seed = manifest.Seed
	b.shipped, err = os.ReadFile(out)
	return int64(len(b.shipped)), err
}

// account builds the image with symbols and without some parts of the
// configuration, and says whose its bytes are. Without leaving anything out that
// must be the image that ships.
func (b *builder) account(without string) (measure.Account, error) {
	out := filepath.Join(b.dir, "symbols", b.image.App+".elf")
	if err := measure.Build(b.root, b.image, b.config, out, "-work="+filepath.Join(b.dir, "work"),
		"-strip=false", "-seed="+b.seed, "-without="+without); err != nil {
		return nil, err
	}
	file, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	keep := image.Traceable
	if b.image.Profile == "tiny" {
		keep = image.Tiny
	}
	// In packed tables no byte is one package's.
	plain, err := image.Unpacked(file, keep)
	if err != nil {
		return nil, err
	}
	if without == "" {
		packed, err := image.Slim(file, keep)
		if err != nil {
			return nil, err
		}
		if err := alike(b.shipped, packed); err != nil {
			return nil, err
		}
		saved, err := saving(plain, packed)
		if err != nil {
			return nil, err
		}
		b.plain = int64(len(b.shipped)) + saved
	}
	return measure.Read(plain, b.own)
}

// saving is how much more the sections of one file have than those of another.
func saving(plain, packed []byte) (saved int64, err error) {
	a, err := measure.Sections(plain)
	if err != nil {
		return 0, err
	}
	b, err := measure.Sections(packed)
	if err != nil {
		return 0, err
	}
	for name, n := range a {
		saved += n - b[name]
	}
	return saved, nil
}

// alike says whether a file with symbols is the image that ships.
func alike(ships, symbols []byte) error {
	a, err := measure.Sections(ships)
	if err != nil {
		return err
	}
	b, err := measure.Sections(symbols)
	if err != nil {
		return err
	}
	if !maps.Equal(a, b) {
		return fmt.Errorf("the image with symbols is another than the one that ships: sections of %v and %v bytes", b, a)
	}
	var text [2][]byte
	for i, file := range [][]byte{ships, symbols} {
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			return err
		}
		if text[i], err = f.Section(".text").Data(); err != nil {
			return err
		}
	}
	if !bytes.Equal(text[0], text[1]) {
		return errors.New("the image with symbols has other code than the one that ships")
	}
	return nil
}

// where names those keys that are in the file, with their lines.
func where(t *tree.Table, keys []string) string {
	var names []string
	for _, k := range keys {
		if at := lines(t, strings.Split(k, ".")); len(at) == 1 {
			names = append(names, k+" (line "+at[0]+")")
		} else if len(at) > 1 {
			const most = 4
			if len(at) > most {
				at = append(at[:most:most], "...")
			}
			names = append(names, k+" (lines "+strings.Join(at, ", ")+")")
		}
	}
	return strings.Join(names, ", ")
}

// lines are those that a key is in, which may be in several tables of a list.
func lines(t *tree.Table, path []string) (list []string) {
	v := t.Values[path[0]]
	switch {
	case v == nil:
		return nil
	case len(path) == 1:
		return []string{strconv.Itoa(v.Line)}
	}
	items, ok := v.V.([]*tree.Value)
	if !ok {
		items = []*tree.Value{v}
	}
	for _, v := range items {
		if t, ok := v.V.(*tree.Table); ok {
			list = append(list, lines(t, path[1:])...)
		}
	}
	return list
}
