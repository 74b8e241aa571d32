// Package dnsdiff compares the answers of the DNS appliance with those of NSD and
// Knot, on the same zones, over as many generated questions as one likes: response
// code, flags and the records of every section. What may differ, and by which RFC,
// stands in accepted.go.
//
// The servers are programs on the loopback interface, and the appliance's answerer
// as a process of the host; tools/guesttest asks a sample of the same questions of
// a booted image.
package dnsdiff

import "ampoule/libos/config/zone"

// Record types that questions, or the rules of this package, are about.
const (
	typeA     = 1
	typeNS    = zone.TypeNS
	typeCNAME = zone.TypeCNAME
	typeSOA   = zone.TypeSOA
	typeMX    = 15
	typeAAAA  = 28
	typeSRV   = 33
	typeDNAME = zone.TypeDNAME
	typeOPT   = 41
	typeDS    = zone.TypeDS
	typeRRSIG = zone.TypeRRSIG
	typeNSEC  = zone.TypeNSEC
	typeNSEC3 = zone.TypeNSEC3
	typeSVCB  = 64
	typeHTTPS = 65
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255

	classIN  = 1
	classCH  = 3
	classANY = 255
)
