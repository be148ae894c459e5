package docker

import (
	"encoding/base64"
	"testing"
)

func TestLoginsOfAConfiguration(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:a:b"))
	logins, err := ParseLogins(`{"auths":{"r.test:5000":{"auth":"` + auth + `"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	header, _ := base64.URLEncoding.DecodeString(logins.header("r.test:5000/a/b:1"))
	if string(header) != `{"password":"a:b","serveraddress":"r.test:5000","username":"me"}` {
		t.Fatalf("%s", header)
	}
	if logins.header("other/a") != "" || Logins(nil).header("r.test:5000/a") != "" {
		t.Fatal("a login for another registry")
	}
	for _, bad := range []string{"{", "/nonexistent", `{"auths":{"x":{"auth":"*"}}}`} {
		if _, err := ParseLogins(bad); err == nil {
			t.Fatalf("%s was taken", bad)
		}
	}
}
