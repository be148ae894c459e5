// Package flagdata holds the flag tables of the real programs (one TSV per program: flag, kind, required, default).
package flagdata

import "embed"

// FS holds the tables by file name.
//
//go:embed *.tsv
var FS embed.FS
