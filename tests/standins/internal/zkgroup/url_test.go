package zkgroup

import "testing"

func TestURLsAreReadAndRefusedLikeTheRealOnes(t *testing.T) {
	url, err := ParseURL("zk://user:pass@10.0.0.1:2181,10.0.0.2:2181/mesos")
	if err != nil || len(url.Servers) != 2 || url.Auth != "user:pass" || url.Path != "/mesos" {
		t.Errorf("%+v %v", url, err)
	}
	if url, err = ParseURL("zk://h:1"); err != nil || url.Path != "/" {
		t.Errorf("without a path: %+v %v", url, err)
	}
	if _, err = ParseURL("127.0.0.1:2181/mesos"); err == nil || err.Error() != "Expecting 'zk://' at the beginning of the URL" {
		t.Errorf("without zk://: %v", err)
	}
}

func TestOnlyLabelledChildrenCount(t *testing.T) {
	if n, ok := sequenceOf("json.info_0000000012", "json.info"); !ok || n != 12 {
		t.Errorf("%d %v", n, ok)
	}
	if _, ok := sequenceOf("log_replicas", "json.info"); ok {
		t.Error("log_replicas counted as a master")
	}
	if n, ok := sequenceOf("0000000003", ""); !ok || n != 3 {
		t.Errorf("%d %v", n, ok)
	}
}
