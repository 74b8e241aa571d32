package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file to be made.
type File struct {
	Name string // in its folder
	Data []byte
	Mode fs.FileMode
}

// Modes of files.
const (
	Secret fs.FileMode = 0o600
	Public fs.FileMode = 0o644
)

// Write makes files in a folder, which it makes too if it is not there: all of them,
// or none. It overwrites nothing and follows no link: a file that is there already
// is an error.
func Write(dir string, files []File) (err error) {
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.Name)); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fmt.Errorf("%s is there already; nothing is overwritten", filepath.Join(dir, f.Name))
			}
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range made {
				os.Remove(name)
			}
		}
	}()
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := WriteNew(name, f.Data, f.Mode); err != nil {
			return err
		}
		made = append(made, name)
	}
	return nil
}

// WriteNew makes a file that is not there yet, and has it on the disk.
func WriteNew(name string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}
