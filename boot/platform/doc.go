// Package platform opens the machine that an appliance runs on. It is the only
// importer of drivers, with one build-tagged file per target.
package platform
