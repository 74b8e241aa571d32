package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// compare prints the hash of every file below dist, image by image, and answers
// whether each is the same in both trees: content and permissions.
func compare(w io.Writer, a, b string, images []string) (bool, error) {
	same := true
	for _, image := range images {
		da, db := filepath.Join(a, "dist", image), filepath.Join(b, "dist", image)
		na, err := names(da)
		if err != nil {
			return false, err
		}
		nb, err := names(db)
		if err != nil {
			return false, err
		}
		if len(na) == 0 || !slices.Equal(na, nb) {
			fmt.Fprintf(w, "DIFFERENT  dist/%s has %v and %v\n", image, na, nb)
			same = false
			continue
		}
		for _, n := range na {
			line, ok, err := compareFile(filepath.Join(da, n), filepath.Join(db, n))
			if err != nil {
				return false, err
			}
			same = same && ok
			fmt.Fprintf(w, "%s  dist/%s/%s\n", line, image, n)
		}
	}
	if same {
		fmt.Fprintln(w, "REPRODUCED: both builds are the same, byte by byte")
	} else {
		fmt.Fprintln(w, "NOT REPRODUCED")
	}
	return same, nil
}

// names lists the files below dir.
func names(dir string) (list []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			list = append(list, rel)
		}
		return err
	})
	return list, err
}

// compareFile says what two files have in common: the hash, or where they part.
func compareFile(a, b string) (line string, same bool, err error) {
	ca, err := os.ReadFile(a)
	if err != nil {
		return "", false, err
	}
	cb, err := os.ReadFile(b)
	if err != nil {
		return "", false, err
	}
	ia, err := os.Stat(a)
	if err != nil {
		return "", false, err
	}
	ib, err := os.Stat(b)
	if err != nil {
		return "", false, err
	}
	if ia.Mode() != ib.Mode() {
		return fmt.Sprintf("DIFFERENT  mode %v and %v", ia.Mode(), ib.Mode()), false, nil
	}
	if !bytes.Equal(ca, cb) {
		at := 0
		for at < len(ca) && at < len(cb) && ca[at] == cb[at] {
			at++
		}
		return fmt.Sprintf("DIFFERENT  %d and %d bytes, from offset %d", len(ca), len(cb), at), false, nil
	}
	return fmt.Sprintf("%x", sha256.Sum256(ca)), true, nil
}
