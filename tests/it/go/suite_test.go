// What etcd's own client for Go expects of a server, against the nodes in ENDPOINTS.
package suite

import (
	"context"
	"fmt"
	"io/ioutil"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/clientv3/leasing"
	"go.etcd.io/etcd/clientv3/mirror"
	"go.etcd.io/etcd/clientv3/namespace"
	"go.etcd.io/etcd/clientv3/naming/endpoints"
	"go.etcd.io/etcd/clientv3/ordering"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

// A wait longer than this is a failure, not slowness.
const patience = 60 * time.Second

var nodes = strings.Split(os.Getenv("ENDPOINTS"), ",")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, wanted interface{}) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		t.Fatalf("got %v, wanted %v", got, wanted)
	}
}

func connect(t *testing.T, config clientv3.Config) *clientv3.Client {
	t.Helper()
	if config.Endpoints == nil {
		config.Endpoints = nodes
	}
	config.DialTimeout = patience
	client, err := clientv3.New(config)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// A client, a limit to what is waited for, and no keys.
func begin(t *testing.T) (*clientv3.Client, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	client := connect(t, clientv3.Config{})
	_, err := client.Delete(ctx, "", clientv3.WithFromKey())
	must(t, err)
	return client, ctx
}

func values(response *clientv3.GetResponse) (all []string) {
	for _, kv := range response.Kvs {
		all = append(all, string(kv.Key)+"="+string(kv.Value))
	}
	return all
}

func TestKeys(t *testing.T) {
	client, ctx := begin(t)
	first, err := client.Put(ctx, "key/a", "1")
	must(t, err)
	for _, key := range []string{"key/b", "key/c", "other"} {
		_, err = client.Put(ctx, key, key)
		must(t, err)
	}
	last, err := client.Put(ctx, "key/a", "2", clientv3.WithPrevKV())
	must(t, err)
	same(t, string(last.PrevKv.Value), "1")
	same(t, last.Header.Revision, first.Header.Revision+4)
	all, err := client.Get(ctx, "key/", clientv3.WithPrefix(), clientv3.WithLimit(2),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	must(t, err)
	same(t, values(all), "[key/a=2 key/c=key/c]")
	same(t, fmt.Sprint(all.Count, all.More), "3 true")
	past, err := client.Get(ctx, "key/a", clientv3.WithRev(first.Header.Revision))
	must(t, err)
	same(t, values(past), "[key/a=1]")
	for _, node := range nodes {
		there := connect(t, clientv3.Config{Endpoints: []string{node}})
		found, err := there.Get(ctx, "key/a")
		must(t, err)
		same(t, values(found), "[key/a=2]")
	}
	_, err = client.Get(ctx, "key/a", clientv3.WithRev(last.Header.Revision+100))
	same(t, err, rpctypes.ErrFutureRev)
	_, err = client.Compact(ctx, last.Header.Revision, clientv3.WithCompactPhysical())
	must(t, err)
	_, err = client.Get(ctx, "key/a", clientv3.WithRev(first.Header.Revision))
	same(t, err, rpctypes.ErrCompacted)
	_, err = client.Put(ctx, "", "x")
	same(t, err, rpctypes.ErrEmptyKey)
	gone, err := client.Delete(ctx, "key/", clientv3.WithPrefix())
	must(t, err)
	same(t, gone.Deleted, 3)
}

func TestTransactions(t *testing.T) {
	client, ctx := begin(t)
	// Compared with what was there before any of it.
	nested := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Version("a"), "=", 0)},
		[]clientv3.Op{clientv3.OpGet("a")}, nil)
	done, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision("a").WithPrefix(), "=", 0)).
		Then(clientv3.OpPut("a", "1"), nested).Else(clientv3.OpPut("a", "no")).Commit()
	must(t, err)
	same(t, done.Succeeded, true)
	within := done.Responses[1].GetResponseTxn()
	same(t, string(within.Responses[0].GetResponseRange().Kvs[0].Value), "1")
	_, err = client.Txn(ctx).Then(clientv3.OpPut("a", "1"), clientv3.OpPut("a", "2")).Commit()
	same(t, err, rpctypes.ErrDuplicateKey)
}

func TestWatches(t *testing.T) {
	client, ctx := begin(t)
	first, err := client.Put(ctx, "w/a", "1")
	must(t, err)
	events := client.Watch(ctx, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(),
		clientv3.WithRev(first.Header.Revision), clientv3.WithCreatedNotify())
	created := <-events
	same(t, created.Created, true)
	_, err = client.Put(ctx, "w/a", "2")
	must(t, err)
	last, err := client.Delete(ctx, "w/a")
	must(t, err)
	var seen []string
	for len(seen) < 3 {
		answer := <-events
		must(t, answer.Err())
		for _, event := range answer.Events {
			before := ""
			if event.PrevKv != nil {
				before = string(event.PrevKv.Value)
			}
			seen = append(seen, fmt.Sprint(event.Type, string(event.Kv.Value), before))
		}
	}
	same(t, seen, "[PUT1 PUT21 DELETE2]")
	must(t, client.RequestProgress(ctx))
	progress := <-events
	same(t, progress.IsProgressNotify(), true)
	_, err = client.Compact(ctx, last.Header.Revision)
	must(t, err)
	lost := <-client.Watch(ctx, "w/a", clientv3.WithRev(first.Header.Revision))
	same(t, lost.Err(), rpctypes.ErrCompacted)
	same(t, lost.CompactRevision, last.Header.Revision)
}

func TestLeases(t *testing.T) {
	client, ctx := begin(t)
	lease, err := client.Grant(ctx, 60)
	must(t, err)
	_, err = client.Put(ctx, "l", "1", clientv3.WithLease(lease.ID))
	must(t, err)
	kept, err := client.KeepAlive(ctx, lease.ID)
	must(t, err)
	same(t, (<-kept).TTL, 60)
	left, err := client.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
	must(t, err)
	same(t, fmt.Sprintf("%d %s", left.GrantedTTL, left.Keys), "60 [l]")
	_, err = client.Revoke(ctx, lease.ID)
	must(t, err)
	found, err := client.Get(ctx, "l")
	must(t, err)
	same(t, found.Count, 0)
	_, err = client.KeepAliveOnce(ctx, lease.ID)
	same(t, err, rpctypes.ErrLeaseNotFound)
	short, err := client.Grant(ctx, 2)
	must(t, err)
	_, err = client.Put(ctx, "l", "1", clientv3.WithLease(short.ID))
	must(t, err)
	events := client.Watch(ctx, "l", clientv3.WithFilterPut())
	same(t, (<-events).Events[0].Type, clientv3.EventTypeDelete)
}

// Makes another node lead, if there is one.
func moveLeader(t *testing.T, ctx context.Context, client *clientv3.Client) {
	t.Helper()
	for at, node := range nodes {
		status, err := client.Status(ctx, node)
		must(t, err)
		if status.Leader != status.Header.MemberId || len(nodes) == 1 {
			continue
		}
		next, err := client.Status(ctx, nodes[(at+1)%len(nodes)])
		must(t, err)
		there := connect(t, clientv3.Config{Endpoints: []string{node}})
		_, err = there.MoveLeader(ctx, next.Header.MemberId)
		must(t, err)
		return
	}
}

func TestOneAtATimeHasAMutex(t *testing.T) {
	client, ctx := begin(t)
	var group sync.WaitGroup
	holders := 0
	for worker := 0; worker < 4; worker++ {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
		must(t, err)
		defer session.Close()
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			mutex := concurrency.NewMutex(session, "mutex")
			for turn := 0; turn < 5; turn++ {
				if err := mutex.Lock(ctx); err != nil {
					t.Error(err)
					return
				}
				holders++
				if holders != 1 {
					t.Error("it is held twice")
				}
				holders--
				if err := mutex.Unlock(ctx); err != nil {
					t.Error(err)
				}
			}
		}(worker)
	}
	moveLeader(t, ctx, client)
	group.Wait()
}

func TestElections(t *testing.T) {
	client, ctx := begin(t)
	var elections []*concurrency.Election
	for range []int{0, 1} {
		session, err := concurrency.NewSession(client)
		must(t, err)
		defer session.Close()
		elections = append(elections, concurrency.NewElection(session, "office"))
	}
	_, err := elections[0].Leader(ctx)
	same(t, err, concurrency.ErrElectionNoLeader)
	seen := elections[1].Observe(ctx)
	must(t, elections[0].Campaign(ctx, "first"))
	same(t, string((<-seen).Kvs[0].Value), "first")
	won := make(chan error)
	go func() { won <- elections[1].Campaign(ctx, "second") }()
	must(t, elections[0].Proclaim(ctx, "still first"))
	same(t, string((<-seen).Kvs[0].Value), "still first")
	moveLeader(t, ctx, client)
	must(t, elections[0].Resign(ctx))
	must(t, <-won)
	same(t, string((<-seen).Kvs[0].Value), "second")
}

func TestTransactionsInMemoryLoseNothing(t *testing.T) {
	client, ctx := begin(t)
	// Of one node: what it reads of the others' it takes from copies, which may lag.
	client.SetEndpoints(nodes[0])
	const accounts = 4
	for account := 0; account < accounts; account++ {
		_, err := client.Put(ctx, fmt.Sprint("account", account), "100")
		must(t, err)
	}
	var group sync.WaitGroup
	for worker := 0; worker < accounts; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			from, to := fmt.Sprint("account", worker), fmt.Sprint("account", (worker+1)%accounts)
			for turn := 0; turn < 10; turn++ {
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					less, _ := strconv.Atoi(stm.Get(from))
					more, _ := strconv.Atoi(stm.Get(to))
					stm.Put(from, fmt.Sprint(less-1))
					stm.Put(to, fmt.Sprint(more+1))
					return nil
				}, concurrency.WithAbortContext(ctx))
				if err != nil {
					t.Error(err)
				}
			}
		}(worker)
	}
	group.Wait()
	all, err := client.Get(ctx, "account", clientv3.WithPrefix())
	must(t, err)
	total := 0
	for _, kv := range all.Kvs {
		amount, _ := strconv.Atoi(string(kv.Value))
		total += amount
	}
	same(t, total, 100*accounts)
}

func TestWhatIsBuiltOnKeys(t *testing.T) {
	client, ctx := begin(t)
	below := namespace.NewKV(client.KV, "below/")
	_, err := below.Put(ctx, "a", "1")
	must(t, err)
	found, err := client.Get(ctx, "below/a")
	must(t, err)
	same(t, values(found), "[below/a=1]")

	ordered := ordering.NewKV(client.KV, ordering.NewOrderViolationSwitchEndpointClosure(client))
	found, err = ordered.Get(ctx, "below/a", clientv3.WithSerializable())
	must(t, err)

	leased, end, err := leasing.NewKV(client, "leases/")
	must(t, err)
	defer end()
	other, otherEnd, err := leasing.NewKV(client, "leases/")
	must(t, err)
	defer otherEnd()
	for turn := 0; turn < 3; turn++ {
		_, err = leased.Get(ctx, "below/a")
		must(t, err)
		_, err = other.Put(ctx, "below/a", fmt.Sprint(turn))
		must(t, err)
		found, err = leased.Get(ctx, "below/a")
		must(t, err)
		same(t, values(found), fmt.Sprintf("[below/a=%d]", turn))
	}

	syncer := mirror.NewSyncer(client, "below/", 0)
	base, failed := syncer.SyncBase(ctx)
	copied := 0
	for part := range base {
		copied += len(part.Kvs)
	}
	must(t, <-failed)
	same(t, copied, 1)
	updates := syncer.SyncUpdates(ctx)
	_, err = client.Put(ctx, "below/b", "2")
	must(t, err)
	same(t, string((<-updates).Events[0].Kv.Key), "below/b")

	names, err := endpoints.NewManager(client, "names")
	must(t, err)
	must(t, names.AddEndpoint(ctx, "names/one", endpoints.Endpoint{Addr: "127.0.0.1:1"}))
	listed, err := names.List(ctx)
	must(t, err)
	same(t, listed["names/one"].Addr, "127.0.0.1:1")
}

func TestEveryNodeByItsWholeAddress(t *testing.T) {
	client, ctx := begin(t)
	members, err := client.MemberList(ctx)
	must(t, err)
	same(t, len(members.Members), len(nodes))
	leaders := map[uint64]bool{}
	for _, member := range members.Members {
		url := member.ClientURLs[0]
		same(t, strings.HasPrefix(url, "http://"), true)
		status, err := client.Status(ctx, url)
		must(t, err)
		same(t, status.Header.MemberId, member.ID)
		leaders[status.Leader] = true
		_, err = client.HashKV(ctx, url, 0)
		must(t, err)
		_, err = client.Defragment(ctx, url)
		must(t, err)
		there := connect(t, clientv3.Config{Endpoints: []string{url}})
		backup, err := there.Snapshot(ctx)
		must(t, err)
		bytes, err := ioutil.ReadAll(backup)
		must(t, err)
		same(t, len(bytes) > 0, true)
	}
	same(t, len(leaders), 1)
}

func TestUsersAndRoles(t *testing.T) {
	client, ctx := begin(t)
	_, err := client.RoleAdd(ctx, "reader")
	must(t, err)
	_, err = client.RoleGrantPermission(ctx, "reader", "r/", clientv3.GetPrefixRangeEnd("r/"),
		clientv3.PermissionType(clientv3.PermRead))
	must(t, err)
	for _, name := range []string{"root", "anna"} {
		_, err = client.UserAdd(ctx, name, "secret of "+name)
		must(t, err)
	}
	_, err = client.UserAdd(ctx, "anna", "x")
	same(t, err, rpctypes.ErrUserAlreadyExist)
	_, err = client.UserGrantRole(ctx, "anna", "reader")
	must(t, err)
	_, err = client.RoleAdd(ctx, "root")
	must(t, err)
	_, err = client.UserGrantRole(ctx, "root", "root")
	must(t, err)
	_, err = client.AuthEnable(ctx)
	must(t, err)
	root := connect(t, clientv3.Config{Username: "root", Password: "secret of root"})
	anna := connect(t, clientv3.Config{Username: "anna", Password: "secret of anna"})
	_, err = root.Put(ctx, "r/a", "1")
	must(t, err)
	found, err := anna.Get(ctx, "r/", clientv3.WithPrefix())
	must(t, err)
	same(t, values(found), "[r/a=1]")
	_, err = anna.Put(ctx, "r/a", "2")
	same(t, err, rpctypes.ErrPermissionDenied)
	_, err = client.Get(ctx, "r/a")
	same(t, err, rpctypes.ErrUserEmpty)
	_, err = clientv3.New(clientv3.Config{Endpoints: nodes, Username: "anna", Password: "no",
		DialTimeout: patience})
	same(t, err, rpctypes.ErrAuthFailed)
	_, err = root.AuthDisable(ctx)
	must(t, err)
	for _, name := range []string{"root", "anna"} {
		_, err = client.UserDelete(ctx, name)
		must(t, err)
	}
	for _, name := range []string{"root", "reader"} {
		_, err = client.RoleDelete(ctx, name)
		must(t, err)
	}
}
