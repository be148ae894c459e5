package mesos

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

func uuidBytes() [16]byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails on Linux
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return b
}

// NewUUID is a random UUID as text.
func NewUUID() string {
	b := uuidBytes()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// NewUpdateUUID is a random UUID as base64 of its bytes, as status updates carry it.
func NewUpdateUUID() string {
	b := uuidBytes()
	return base64.StdEncoding.EncodeToString(b[:])
}
