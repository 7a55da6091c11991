// What the package `etcd3` of npm expects of a server, against the nodes in ENDPOINTS.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, afterEach, before, beforeEach, describe, it } = require('node:test');
const etcd3 = require('etcd3');
const { Etcd3 } = etcd3;

const hosts = process.env.ENDPOINTS.split(',');

// A wait longer than this is a failure, not slowness.
const PATIENCE_MS = 60_000;

const clients = [];

function connect(options = {}) {
  const client = new Etcd3({ hosts, ...options });
  clients.push(client);
  return client;
}

after(() => {
  clients.forEach((client) => client.close());
  // Whatever a failed test left under way would keep the process.
  setTimeout(() => process.exit(), 500).unref();
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Asks until it holds.
async function eventually(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `in vain: ${what}`);
    await sleep(50);
  }
}

async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`in vain: ${what}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const rejects = (promise, kind) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
  return true;
});

const values = (kvs) => kvs.map((kv) => kv.value.toString());

describe('basic', () => {
  let client;
  before(() => { client = connect(); });
  beforeEach(async () => {
    await client.delete().all();
    await Promise.all(['foo1=bar1', 'foo2=bar2', 'foo3={"value":"bar3"}', 'baz=bar5']
      .map((pair) => pair.split('=')).map(([key, value]) => client.put(key).value(value)));
  });

  it('reads what was written', async () => {
    assert.equal(await client.get('foo1').string(), 'bar1');
    assert.equal((await client.get('foo1').buffer()).toString(), 'bar1');
    assert.equal(await client.get('wut').string(), null);
    assert.equal(await client.get('foo1').exists(), true);
    assert.equal(await client.get('wut').exists(), false);
    assert.deepEqual(await client.get('foo3').json(), { value: 'bar3' });
    await client.put('foo1').value(42);
    assert.equal(await client.get('foo1').number(), 42);
  });

  it('reads many keys in any form', async () => {
    assert.deepEqual(await client.getAll().prefix('foo').strings(),
      { foo1: 'bar1', foo2: 'bar2', foo3: '{"value":"bar3"}' });
    assert.deepEqual((await client.getAll().prefix('foo').sort('Key', 'Ascend').keys()),
      ['foo1', 'foo2', 'foo3']);
    assert.equal((await client.getAll().prefix('foo').keyBuffers()).length, 3);
    assert.equal(await client.getAll().prefix('foo').count(), 3);
    assert.equal(await client.getAll().all().count(), 4);
    assert.deepEqual(await client.getAll().inRange({ start: 'foo1', end: 'foo3' }).strings(),
      { foo1: 'bar1', foo2: 'bar2' });
  });

  it('sorts and limits', async () => {
    const sorted = (target, order) =>
      client.getAll().prefix('foo').sort(target, order).limit(2).keys();
    assert.deepEqual(await sorted('Key', 'Ascend'), ['foo1', 'foo2']);
    assert.deepEqual(await sorted('Key', 'Descend'), ['foo3', 'foo2']);
    await client.put('foo2').value('z');
    assert.deepEqual(await sorted('Mod', 'Descend').then((keys) => keys[0]), 'foo2');
    assert.deepEqual(await sorted('Version', 'Descend').then((keys) => keys[0]), 'foo2');
  });

  it('reads as of a revision', async () => {
    const { header } = await client.put('foo1').value('later').exec();
    const before = (BigInt(header.revision) - 1n).toString();
    assert.equal(await client.get('foo1').revision(before).string(), 'bar1');
    assert.equal(await client.get('foo1').serializable(true).exec().then((r) => r.kvs.length), 1);
    const kvs = (await client.getAll().all().minModRevision(header.revision).exec()).kvs;
    assert.deepEqual(values(kvs), ['later']);
  });

  it('tells what it replaced', async () => {
    const previous = await client.put('foo1').value('updated').getPrevious();
    assert.equal(previous.value.toString(), 'bar1');
  });

  it('touches: keeps the value, raises the version', async () => {
    const of = async () => (await client.get('foo1').exec()).kvs[0];
    const before = await of();
    await client.put('foo1').touch();
    const now = await of();
    assert.equal(now.value.toString(), 'bar1');
    assert.equal(Number(now.version), Number(before.version) + 1);
    assert.ok(BigInt(now.mod_revision) > BigInt(before.mod_revision));
    await assert.rejects(client.put('wut').touch(), /key not found/);
  });

  it('deletes keys, prefixes, ranges, all', async () => {
    assert.equal((await client.delete().key('foo1')).deleted, '1');
    assert.deepEqual((await client.delete().key('foo2').getPrevious()).map((kv) => kv.value.toString()), ['bar2']);
    assert.equal((await client.delete().prefix('foo')).deleted, '1');
    assert.equal((await client.delete().range(client.range({ start: 'a', end: 'c' }))).deleted, '1');
    await client.put('x').value(1);
    assert.equal((await client.delete().all()).deleted, '1');
    assert.equal((await client.delete().key('x')).deleted, '0');
  });

  it('takes bytes that are no text', async () => {
    const bytes = Buffer.from([0, 255, 128, 10]);
    await client.put(bytes).value(bytes);
    assert.deepEqual(await client.get(bytes).buffer(), bytes);
  });

  it('goes on when a host does not answer', async () => {
    const some = connect({ hosts: ['127.0.0.1:1', hosts[0]] });
    for (let round = 0; round < 4; round += 1) {
      assert.equal(await some.get('foo1').string(), 'bar1');
    }
  });
});

describe('txn', () => {
  let client;
  before(async () => {
    client = connect();
    await client.delete().all();
  });

  it('compares values, versions, revisions and leases', async () => {
    await client.put('foo1').value('bar1');
    const done = await client.if('foo1', 'Value', '==', 'bar1')
      .and('foo1', 'Version', '==', 1)
      .and('foo1', 'Lease', '==', 0)
      .and('nothing', 'Create', '==', 0)
      .then(client.put('foo1').value('bar2'), client.get('foo1'))
      .else(client.put('foo1').value('lost'))
      .commit();
    assert.equal(done.succeeded, true);
    assert.equal(done.responses[1].response_range.kvs[0].value.toString(), 'bar2');
    const not = await client.if('foo1', 'Value', '!=', 'bar2')
      .then(client.delete().key('foo1')).else(client.get('foo1')).commit();
    assert.equal(not.succeeded, false);
    assert.equal(not.responses[0].response_range.kvs[0].value.toString(), 'bar2');
    const later = await client.if('foo1', 'Mod', '>', 1).then(client.delete().key('foo1')).commit();
    assert.equal(later.responses[0].response_delete_range.deleted, '1');
  });

  it('refuses a key twice', async () => {
    const twice = client.if('a', 'Create', '==', 0)
      .then(client.put('a').value('1'), client.put('a').value('2')).commit();
    await assert.rejects(twice, /duplicate key given in txn request/);
  });

  it('runs transactions of software', async () => {
    await client.put('x').value(0);
    const raise = () => client.stm().transact(async (tx) => {
      const value = await tx.get('x').number();
      await tx.put('x').value(value + 1);
    });
    await Promise.all([1, 2, 3].map(raise));
    assert.equal(await client.get('x').number(), 3);
  });

  it('gives up a software transaction that others disturb', async () => {
    const disturbed = client.stm({ retries: 0 }).transact(async (tx) => {
      const value = await tx.get('x').number();
      await client.put('x').value('other');
      await tx.put('x').value(value + 1);
    });
    await rejects(disturbed, etcd3.STMConflictError);
  });
});

describe('leases', () => {
  let client;
  before(async () => {
    client = connect();
    await client.delete().all();
  });

  it('ends with its keys when it is revoked', async () => {
    const lease = client.lease(100);
    await lease.put('leased').value('foo');
    const kv = (await client.get('leased').exec()).kvs[0];
    assert.equal(kv.lease, await lease.grant());
    await lease.revoke();
    assert.equal(await client.get('leased').string(), null);
    assert.equal(lease.revoked(), true);
  });

  it('keeps itself alive, and says so', async () => {
    const lease = client.lease(2);
    const kept = once(lease, 'keepaliveSucceeded');
    await lease.put('kept').value('foo');
    const [answer] = await within(kept, 'keepalive');
    assert.equal(answer.TTL, '2');
    await lease.keepaliveOnce();
    const asked = await client.leaseClient.leaseTimeToLive({ ID: await lease.grant(), keys: true });
    assert.equal(asked.grantedTTL, '2');
    assert.deepEqual(asked.keys.map(String), ['kept']);
    await lease.revoke();
  });

  it('is lost when it ends behind its back', async () => {
    const lease = client.lease(1);
    await lease.put('lost').value('foo');
    const lost = once(lease, 'lost');
    await client.leaseClient.leaseRevoke({ ID: await lease.grant() });
    const [error] = await within(lost, 'lost');
    assert.ok(error instanceof etcd3.EtcdLeaseInvalidError, error.message);
  });

  it('runs out when nobody keeps it alive', async () => {
    const lease = client.lease(1, { autoKeepAlive: false });
    await lease.put('short').value('foo');
    await eventually('the key goes', async () => (await client.get('short').string()) === null);
    await rejects(lease.keepaliveOnce(), etcd3.EtcdLeaseInvalidError);
  });

  it('refuses what is not there', async () => {
    await rejects(client.leaseClient.leaseRevoke({ ID: '12345' }), etcd3.EtcdLeaseInvalidError);
    await rejects(client.put('x').value('y').lease('12345').exec(), etcd3.EtcdLeaseInvalidError);
  });
});

describe('watch', () => {
  let client;
  before(async () => {
    client = connect();
    await client.delete().all();
  });

  it('tells of puts and deletions of a key', async () => {
    const watcher = await client.watch().key('watched').create();
    const put = once(watcher, 'put');
    await client.put('watched').value('updated!');
    const [kv] = await within(put, 'put');
    assert.equal(kv.value.toString(), 'updated!');
    const gone = once(watcher, 'delete');
    await client.delete().key('watched');
    const [deleted] = await within(gone, 'delete');
    assert.equal(deleted.key.toString(), 'watched');
    await watcher.cancel();
  });

  it('tells of prefixes, with what was before, and of what was asked only', async () => {
    const watcher = await client.watch().prefix('p/').only('delete').withPreviousKV().create();
    const seen = [];
    watcher.on('put', () => seen.push('put'));
    watcher.on('delete', (kv, previous) => seen.push(previous.value.toString()));
    await client.put('p/a').value('first');
    await client.delete().prefix('p/');
    await eventually('the deletion', () => seen.length > 0);
    assert.deepEqual(seen, ['first']);
    await watcher.cancel();
  });

  it('begins in the past', async () => {
    const { header } = await client.put('past').value('1').exec();
    await client.put('past').value('2');
    const watcher = client.watch().key('past').startRevision(header.revision).watcher();
    const seen = [];
    watcher.on('put', (kv) => seen.push(kv.value.toString()));
    await eventually('both', () => seen.length === 2);
    assert.deepEqual(seen, ['1', '2']);
    await watcher.cancel();
  });

  it('says what is compacted', async () => {
    const { header } = await client.put('old').value('1').exec();
    await client.put('old').value('2');
    const { header: last } = await client.put('old').value('3').exec();
    await client.kv.compact({ revision: last.revision, physical: false });
    const watcher = client.watch().key('old').startRevision(header.revision).watcher();
    const [error] = await within(once(watcher, 'error'), 'an error');
    assert.match(error.message, /cancel/);
    await assert.rejects(client.get('old').revision(header.revision).string(), /compacted/);
  });

  it('has many watchers on one stream, and ends each alone', async () => {
    const [one, other] = await Promise.all(
      [client.watch().key('m1').create(), client.watch().key('m2').create()]);
    assert.notEqual(one.id, other.id);
    await one.cancel();
    const put = once(other, 'put');
    await client.put('m1').value('x');
    await client.put('m2').value('y');
    const [kv] = await within(put, 'put');
    assert.equal(kv.key.toString(), 'm2');
    await other.cancel();
  });
});

describe('lock', () => {
  let client;
  before(() => { client = connect(); });

  it('is held by one at a time', async () => {
    const held = await client.lock('resource').acquire();
    await rejects(client.lock('resource').acquire(), etcd3.EtcdLockFailedError);
    await held.release();
    const again = await client.lock('resource').ttl(30).acquire();
    assert.ok(await again.leaseId());
    await again.release();
  });

  it('is held around a piece of work', async () => {
    const result = await client.lock('around').do(async () => {
      await rejects(client.lock('around').acquire(), etcd3.EtcdLockFailedError);
      return 'done';
    });
    assert.equal(result, 'done');
    await (await client.lock('around').acquire()).release();
  });
});

describe('election', () => {
  it('is won by one, then by the next, and observed', async () => {
    const client = connect();
    await client.delete().all();
    const election = client.election('office', 10);
    assert.equal(await election.leader(), undefined);
    const first = election.campaign('ann');
    await within(first.wait(), 'ann');
    assert.equal(await election.leader(), 'ann');
    const observer = await election.observe();
    const changes = [];
    observer.on('change', (value) => changes.push(value));
    const second = election.campaign('bob');
    await second.getCampaignKey();
    await first.proclaim('ann again');
    await eventually('ann again', () => observer.leader() === 'ann again');
    await first.resign();
    await within(second.wait(), 'bob');
    await eventually('bob', () => observer.leader() === 'bob');
    assert.equal(await election.leader(), 'bob');
    assert.deepEqual(changes.filter((value) => value === 'bob'), ['bob']);
    await observer.cancel();
    await second.resign();
    assert.equal(await election.leader(), undefined);
  });
});

describe('namespace', () => {
  it('keeps apart what is in it', async () => {
    const client = connect();
    await client.delete().all();
    const ns = client.namespace('user1/');
    await ns.put('foo').value('inside');
    await client.put('foo').value('outside');
    assert.equal(await ns.get('foo').string(), 'inside');
    assert.equal(await client.get('user1/foo').string(), 'inside');
    assert.deepEqual(await ns.getAll().strings(), { foo: 'inside' });
    assert.deepEqual(await ns.getAll().prefix('f').keys(), ['foo']);
    const watcher = await ns.watch().prefix('').create();
    const put = once(watcher, 'put');
    await client.put('user1/w').value('seen');
    const [kv] = await within(put, 'put');
    assert.equal(kv.key.toString(), 'w');
    await watcher.cancel();
    const txn = await ns.if('foo', 'Value', '==', 'inside').then(ns.put('bar').value(1)).commit();
    assert.equal(txn.succeeded, true);
    assert.equal(await client.get('user1/bar').string(), '1');
    const lease = ns.lease(60);
    await lease.put('leased').value(1);
    assert.equal(await client.get('user1/leased').string(), '1');
    await lease.revoke();
    const lock = await ns.lock('lock').acquire();
    await lock.release();
    await ns.delete().all();
    assert.deepEqual(await client.getAll().all().strings(), { foo: 'outside' });
  });
});

describe('roles and auth', () => {
  let client;
  const names = (things) => things.map((thing) => thing.name).sort();
  const wipe = async () => {
    for (const user of await client.getUsers()) await user.delete();
    for (const role of await client.getRoles()) await role.delete();
  };
  before(() => { client = connect(); });
  beforeEach(wipe);
  after(wipe);

  it('makes and lists roles', async () => {
    await client.role('foo').create();
    assert.deepEqual(names(await client.getRoles()), ['foo']);
    await rejects(client.role('foo').create(), etcd3.EtcdRoleExistsError);
    await client.role('foo').delete();
    assert.deepEqual(names(await client.getRoles()), []);
    await rejects(client.role('foo').delete(), etcd3.EtcdRoleNotFoundError);
    const grant = { permission: 'Read', range: client.range({ prefix: '111' }) };
    await rejects(client.role('foo').grant(grant), etcd3.EtcdRoleNotFoundError);
  });

  it('grants and revokes', async () => {
    const role = await client.role('foo').create();
    await role.grant([
      { permission: 'Read', range: client.range({ prefix: '111' }) },
      { permission: 'Readwrite', key: 'one' },
    ]);
    const all = await role.permissions();
    assert.deepEqual(all.map((it) => it.permission), ['Read', 'Readwrite']);
    assert.deepEqual(all[0].range.start.toString(), '111');
    assert.deepEqual(all[0].range.end.toString(), '112');
    await role.revoke(all[0]);
    await role.revoke({ permission: 'Readwrite', key: 'one' });
    assert.deepEqual(await role.permissions(), []);
  });

  it('makes and lists users', async () => {
    await client.user('connor').create('password');
    assert.deepEqual(names(await client.getUsers()), ['connor']);
    await rejects(client.user('connor').create('password'), etcd3.EtcdUserExistsError);
    await client.user('connor').delete();
    await rejects(client.user('connor').delete(), etcd3.EtcdUserNotFoundError);
    await rejects(client.user('connor').setPassword('x'), etcd3.EtcdUserNotFoundError);
  });

  it('gives roles to users', async () => {
    const role = await client.role('foo').create();
    const user = await client.user('connor').create('password');
    await user.addRole(role);
    assert.deepEqual(names(await user.roles()), ['foo']);
    await role.removeUser('connor');
    assert.deepEqual(await user.roles(), []);
    await rejects(user.removeRole('foo'), etcd3.EtcdRoleNotGrantedError);
    await rejects(user.addRole('wut'), etcd3.EtcdRoleNotFoundError);
  });

  describe('password auth', () => {
    const root = { username: 'root', password: 'secret' };
    const connor = { username: 'connor', password: 'password' };
    before(async () => { await client.delete().all(); });
    beforeEach(async () => {
      await client.role('root').create();
      const user = await client.user('root').create(root.password);
      await user.addRole('root');
      const role = await client.role('rw_prefix_f').create();
      await role.grant({ permission: 'Readwrite', range: client.range({ prefix: 'f' }) });
      const other = await client.user('connor').create(connor.password);
      await other.addRole(role);
      await client.auth.authEnable();
    });
    afterEach(async () => {
      const authed = connect({ auth: root });
      await authed.auth.authDisable();
    });

    it('lets in whoever knows the password, to what they may', async () => {
      const authed = connect({ auth: connor });
      await authed.put('foo').value('bar');
      assert.equal(await authed.get('foo').string(), 'bar');
      await rejects(authed.put('wut').value('bar').exec(), etcd3.EtcdPermissionDeniedError);
      await rejects(authed.getAll().all().strings(), etcd3.EtcdPermissionDeniedError);
      const spy = authed.if('foo', 'Create', '>', 0)
        .then(authed.get('foo')).else(authed.get('wut')).commit();
      await rejects(spy, etcd3.EtcdPermissionDeniedError);
    });

    it('turns away whoever does not', async () => {
      const wrong = connect({ auth: { username: 'connor', password: 'bad password' } });
      await rejects(wrong.put('foo').value('bar').exec(), etcd3.EtcdAuthenticationFailedError);
      await assert.rejects(client.put('foo').value('bar').exec(), /user name is empty/);
    });

    it('keeps a token over changes of rights, and takes another one after a change of password', async () => {
      const authed = connect({ auth: root });
      await authed.put('a').value('1');
      await authed.role('rw_prefix_f').grant({ permission: 'Read', key: 'a' });
      await authed.put('a').value('2');
      const reader = connect({ auth: connor });
      assert.equal(await reader.get('a').string(), '2');
      await authed.user('connor').setPassword('another');
      await rejects(reader.get('a').string(), etcd3.EtcdAuthenticationFailedError);
      const again = connect({ auth: { username: 'connor', password: 'another' } });
      assert.equal(await again.get('a').string(), '2');
    });

    it('asks for a token again when one is not taken any more', async () => {
      const authed = connect({ auth: connor });
      await authed.put('foo').value('1');
      await connect({ auth: root }).auth.authDisable();
      await client.auth.authEnable();
      await authed.put('foo').value('2');
      assert.equal(await authed.get('foo').string(), '2');
    });

    it('checks watches, leases and locks', async () => {
      const authed = connect({ auth: connor });
      const watcher = await authed.watch().key('foo').create();
      const put = once(watcher, 'put');
      const lease = authed.lease(60);
      await lease.put('foo').value('leased');
      await within(put, 'put');
      await lease.revoke();
      await watcher.cancel();
      await (await authed.lock('f-lock').acquire()).release();
      await rejects(authed.lock('g-lock').acquire(), etcd3.EtcdPermissionDeniedError);
      const not = authed.watch().key('wut').watcher();
      const [error] = await within(once(not, 'error'), 'an error');
      assert.match(error.message, /permission denied/);
    });
  });
});

describe('cluster and maintenance', () => {
  it('lists members and tells of each', async () => {
    const client = connect();
    const { members } = await client.cluster.memberList({});
    assert.ok(members.length >= 1);
    assert.ok(members.every((member) => member.clientURLs.length >= 1 && member.peerURLs.length >= 1));
    const status = await client.maintenance.status();
    assert.match(status.version, /^3\./);
    assert.ok(members.some((member) => member.ID === status.leader));
    assert.deepEqual((await client.maintenance.alarm({ action: 'Get' })).alarms, []);
    await client.maintenance.defragment();
  });
});
