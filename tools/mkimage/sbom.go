package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"ampoule/libos/netif/trim"

	"github.com/google/licensecheck"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// noAssertion is SPDX for: not known, and nothing is claimed.
const noAssertion = "NOASSERTION"

// noTime stands where SPDX wants a time: an image has none.
const noTime = "1970-01-01T00:00:00Z"

// linked is the packages of which code is in the image, by the names of
// functions in its tables for tracebacks, as the linker wrote them: what it has
// thrown away is not among them.
func (o *options) linked(image string) ([]goPackage, error) {
	f, err := elf.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".gopclntab")
	if section == nil {
		return nil, fmt.Errorf("%s has no .gopclntab", image)
	}
	table, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: .gopclntab: %w", image, err)
	}
	found := map[string]bool{}
	for name := range bytes.SplitSeq(table, []byte{0}) {
		found[packageOf(string(name))] = true
	}
	found[o.pkg] = found[o.pkg] || found["main"]
	var list []goPackage
	for _, p := range o.id.deps {
		if found[p.ImportPath] {
			list = append(list, p)
		}
	}
	if !found["runtime"] || len(list) < 10 {
		return nil, fmt.Errorf("%s: code of %d packages only: its tables are not understood", image, len(list))
	}
	return list, nil
}

// packageOf is the import path in a function's symbol (cmd/internal/objabi,
// PathToPrefix: dots in the last element are escaped).
func packageOf(symbol string) string {
	symbol, _, _ = strings.Cut(symbol, "[") // type arguments have paths of their own
	symbol, _, _ = strings.Cut(symbol, "(")
	slash := strings.LastIndexByte(symbol, '/') + 1
	last, _, _ := strings.Cut(symbol[slash:], ".")
	return symbol[:slash] + strings.ReplaceAll(last, "%2e", ".")
}

// component is a module, or the standard library, with what is linked of it.
type component struct {
	name, version, sum, license, purl string
	packages                          []goPackage
}

// components sorts the linked packages by module. sums are those of go.sum.
func (o *options) components(linked []goPackage, goVersion string, sums map[string]string) []component {
	var list []component
	for _, p := range linked {
		release := strings.TrimPrefix(goVersion, "go")
		c := component{name: "std", version: release, purl: "pkg:golang/std@" + release}
		dir := o.goroot
		if !p.Standard && p.Module != nil {
			c, dir = component{name: p.Module.Path}, p.Module.Dir
			if !p.ours() || p.Module.Path == trim.Module {
				c.version, c.sum = p.Module.Version, sums[p.Module.Path]
				c.purl = "pkg:golang/" + p.Module.Path + "@" + p.Module.Version
			}
		}
		i := slices.IndexFunc(list, func(o component) bool { return o.name == c.name })
		if i < 0 {
			c.license = license(dir)
			list, i = append(list, c), len(list)
		}
		list[i].packages = append(list[i].packages, p)
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.name, b.name) })
	return list
}

// license is the SPDX expression for the licence file of a module, if one is
// recognised.
func license(dir string) string {
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		cov := licensecheck.Scan(b)
		var ids []string
		for _, m := range cov.Match {
			ids = append(ids, m.ID)
		}
		slices.Sort(ids)
		const enough = 75 // percent of the text that is a licence known by name
		if ids = slices.Compact(ids); cov.Percent >= enough {
			return strings.Join(ids, " AND ")
		}
	}
	return noAssertion
}

// sbom is the image's bill of materials as SPDX 2.3 JSON.
func (o *options) sbom(list []component, image file) ([]byte, error) {
	name := o.app + "-" + o.target
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: name,
		// A name, not a place: the build's fingerprint makes it unique.
		DocumentNamespace: "https://ampoule.invalid/spdx/" + name + "/" + o.id.build,
		CreationInfo: &v2_3.CreationInfo{Created: noTime, Creators: []common.Creator{{CreatorType: "Tool", Creator: "ampoule-mkimage"}},
			CreatorComment: "The time is none: the same sources give this file again, byte by byte."},
	}
	doc.Packages = append(doc.Packages, &v2_3.Package{
		PackageName: name, PackageSPDXIdentifier: "image", PackageVersion: o.id.build, PackageFileName: image.Name,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion,
		PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "APPLICATION",
		PackageChecksums: []common.Checksum{{Algorithm: common.SHA256, Value: image.SHA256}},
	})
	relate := func(a, b common.ElementID, kind string) {
		doc.Relationships = append(doc.Relationships, &v2_3.Relationship{
			RefA: common.MakeDocElementID("", string(a)), RefB: common.MakeDocElementID("", string(b)), Relationship: kind})
	}
	relate("DOCUMENT", "image", "DESCRIBES")
	for _, c := range list {
		id := spdxID("module", c.name)
		doc.Packages = append(doc.Packages, spdxPackage(id, c.name, c, c.purl))
		relate("image", id, "CONTAINS")
		for _, p := range c.packages {
			purl := c.purl
			if sub := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, c.name), "/"); purl != "" && sub != "" {
				purl += "#" + sub
			}
			pkg := spdxID("package", p.ImportPath)
			doc.Packages = append(doc.Packages, spdxPackage(pkg, p.ImportPath, c, purl))
			relate(id, pkg, "CONTAINS")
		}
	}
	var b bytes.Buffer
	if err := spdxjson.Write(doc, &b, spdxjson.Indent("  ")); err != nil {
		return nil, fmt.Errorf("SBOM: %w", err)
	}
	return b.Bytes(), nil
}

// spdxPackage describes a module, or a package of it.
func spdxPackage(id common.ElementID, name string, c component, purl string) *v2_3.Package {
	p := &v2_3.Package{PackageName: name, PackageSPDXIdentifier: id, PackageVersion: c.version,
		PackageDownloadLocation: noAssertion, PackageLicenseConcluded: c.license, PackageLicenseDeclared: c.license,
		PackageCopyrightText: noAssertion, PrimaryPackagePurpose: "LIBRARY"}
	if purl != "" {
		p.PackageExternalReferences = []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager,
			RefType: common.TypePackageManagerPURL, Locator: purl}}
	}
	if c.sum != "" {
		p.PackageComment = "go.sum: " + c.sum
	}
	return p
}

var notInID = regexp.MustCompile(`[^a-zA-Z0-9.]`)

// spdxID is an identifier: letters, digits, dots and hyphens. Two names that
// differ in other characters only would clash, so those are spelt out.
func spdxID(kind, name string) common.ElementID {
	return common.ElementID(kind + "-" + notInID.ReplaceAllStringFunc(name, func(s string) string {
		if s == "/" {
			return "-"
		}
		return fmt.Sprintf("-%x-", s)
	}))
}
