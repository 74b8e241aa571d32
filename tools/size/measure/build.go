// Package measure builds images and says whose their bytes are.
package measure

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Image names what is built: an appliance for a target with a profile.
type Image struct{ App, Target, Profile string }

func (i Image) String() string { return i.App + "-" + i.Target + " " + i.Profile }

// Build runs mkimage of the tree at root, with more arguments, and writes the
// image to out. config "" is the configuration of the tree. What mkimage says
// about a configuration that it refuses is in the error.
func Build(root string, i Image, config, out string, more ...string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	args := append([]string{"run", "ampoule/tools/mkimage", "-app", i.App, "-target", i.Target, "-profile", i.Profile, "-o", out}, more...)
	if config != "" {
		args = append(args, "-config", config)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", i, err, b)
	}
	return nil
}
