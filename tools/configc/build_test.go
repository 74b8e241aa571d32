package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ampoule/tools/configc/image"
)

// TestBuild builds each appliance with the source made of its configuration in
// the place of its package config, as the build of an image does.
func TestBuild(t *testing.T) {
	appliances, err := filepath.Abs("../../appliances")
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range image.Apps {
		dir := t.TempDir()
		source, feature := filepath.Join(dir, "config.go"), filepath.Join(dir, "feature.go")
		var out bytes.Buffer
		if code := run([]string{"-config", "../../configs/" + app + ".toml", "-app", app, "-o", source, "-feature", feature}, &out, &out); code != 0 {
			t.Fatalf("%s: exit code %d: %s", app, code, out.Bytes())
		}
		replace := map[string]string{
			filepath.Join(appliances, app, "config", "config.go"):                       source,
			filepath.Join(appliances, "..", "libos", "config", "feature", "feature.go"): feature,
		}
		overlay, err := json.Marshal(map[string]any{"Replace": replace})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "overlay.json")
		if err := os.WriteFile(file, overlay, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "build", "-overlay", file, "-o", filepath.Join(dir, app), "./"+app)
		cmd.Dir = appliances
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", app, err, out)
		}
	}
}
