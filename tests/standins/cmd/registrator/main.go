// Command registrator is the lab's stand-in for Registrator v7.
package main

import (
	"os"

	"toots.test/standins/internal/registrator"
)

func main() { os.Exit(registrator.Run(os.Args[1:])) }
