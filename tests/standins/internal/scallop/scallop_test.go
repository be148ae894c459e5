package scallop

import "testing"

func TestRecordedErrors(t *testing.T) {
	for _, c := range []struct {
		parser *Parser
		args   []string
		want   string
	}{
		{Marathon(), []string{"--master", "m", "--ha", "maybe"}, "[scallop] Error: Excess arguments provided: 'maybe'"},
		{Marathon(), []string{"--zk", "z"}, "[scallop] Error: Required option 'master' not found"},
		{Marathon(), []string{"--master", "m", "--no_such_flag", "x"}, "[scallop] Error: Unknown option 'no_such_flag'"},
		{Marathon(), []string{"--master", "m", "--no-logger"}, "[scallop] Error: Unknown option 'no-logger'"},
		{Marathon(), []string{"--master=m", "--master", "n"}, "[scallop] Error: Bad arguments for option 'master': 'm n' - you should provide exactly one argument for this option"},
		{Chronos(), []string{"--master", "m", "--http_port", "abc"}, "[scallop] Error: Bad arguments for option 'http_port': 'abc' - wrong arguments format"},
		{Chronos(), []string{"--no_such_flag", "x"}, "[scallop] Error: Unknown option 'no_such_flag'"},
	} {
		_, err := c.parser.Parse(c.args)
		if err == nil || err.Error() != c.want {
			t.Errorf("%v:\n got %v\nwant %s", c.args, err, c.want)
		}
	}
}

func TestValuesAndDefaults(t *testing.T) {
	v, err := Marathon().Parse([]string{"--master=zk://a/mesos", "--http_port", "18080", "--disable_ha"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Get("master") != "zk://a/mesos" || v.Int("http_port") != 18080 || v.Bool("ha") || !v.Bool("checkpoint") || v.Int("zk_timeout") != 10000 {
		t.Errorf("wrong values: %+v", v.given)
	}
	// Chronos marks master as required, yet its default satisfies that.
	if v, err = Chronos().Parse(nil); err != nil || v.Get("master") != "local" {
		t.Errorf("chronos without flags: %v, %v", v, err)
	}
	if n, m := len(Marathon().Flags()), len(Chronos().Flags()); n != 154 || m != 62 {
		t.Errorf("%d and %d flags", n, m)
	}
}
