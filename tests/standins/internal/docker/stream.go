package docker

import (
	"encoding/binary"
	"errors"
	"io"
)

// demultiplex splits the daemon's frames (1 byte stream, 3 zero bytes, 4 bytes length) to two writers.
func demultiplex(in io.Reader, out, errs io.Writer) error {
	var head [8]byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		to := out
		if head[0] == 2 {
			to = errs
		}
		if _, err := io.CopyN(to, in, int64(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return err
		}
	}
}
