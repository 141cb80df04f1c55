"""A network: its list carried out plugin by plugin, each given what the one before it made.

ADD in order, DEL in reverse order with the kept result; an ADD that fails half way is undone. One call per
attachment at a time is the caller's business; different attachments may go at once.
"""

from __future__ import annotations

from collections.abc import Collection

from aio import log as aio_log
from cni import invocation
from cni.conflist import CHECK_SINCE, GC_SINCE, NetworkList, Plugin, is_at_least
from cni.invocation import Attachment, Command, Json, PluginError
from cni.plugins import Runner
from cni.results import Kept, Results
from kube.errors import InvalidObject

log = aio_log.get(__name__)


class Network:
    """`open` asks the plugins which version of the specification they share."""

    def __init__(self, network: NetworkList, runner: Runner, results: Results, version: str) -> None:
        self.list = network
        self.version = version
        self._runner = runner
        self._results = results

    @classmethod
    async def open(cls, network: NetworkList, runner: Runner, results: Results) -> Network:
        """PluginError when a plugin is missing or they share no version."""
        supported = []
        for plugin in network.plugins:
            config = invocation.encode({"cniVersion": network.version})
            variables = invocation.environment(Command.VERSION, None, runner.path)
            answer = await runner.call(plugin.type, variables, config)
            said = invocation.read_answer(plugin.type, Command.VERSION, answer.code, answer.output)
            supported.append([str(one) for one in said.get("supportedVersions") or ()])
        return cls(network, runner, results, invocation.choose_version(network, supported))

    async def add(self, attachment: Attachment) -> Json:
        """The result of the last plugin. PluginError, OSError, InvalidObject; then nothing is left behind,
        and when it is given up half way neither."""
        attachment.check()
        result: Json | None = None
        try:
            for plugin in self.list.plugins:
                result = await self._call(Command.ADD, plugin, attachment, result)
            done = result or {}
            self._results.put(Kept(attachment, self.version, done))
        except BaseException:
            await self._undo(attachment)
            raise
        return done

    async def check(self, attachment: Attachment) -> None:
        """PluginError when the attachment is not as ADD left it. Does nothing where the list forbids it or
        its version is too old to know."""
        attachment.check()
        if not invocation.may_check(self.list, self.version):
            return
        kept = self._results.get(attachment)
        if kept is None:
            raise PluginError(self.list.name, Command.CHECK.value, 3, "the attachment is not known")
        for plugin in self.list.plugins:
            await self._call(Command.CHECK, plugin, attachment, kept.result)

    async def delete(self, attachment: Attachment) -> None:
        """Give everything of an attachment back; again is no error. PluginError names the first
        failure, after every plugin was called."""
        attachment.check()
        kept = self._results.get(attachment)
        takes_result = is_at_least(self.version, CHECK_SINCE)
        previous = kept.result if kept is not None and takes_result else None
        failed: PluginError | None = None
        for plugin in reversed(self.list.plugins):
            try:
                await self._call(Command.DEL, plugin, attachment, previous)
            except PluginError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        self._results.forget(attachment)

    async def status(self) -> None:
        """PluginError when a plugin cannot serve ADD now; lists older than 1.1 cannot tell."""
        if not is_at_least(self.version, GC_SINCE):
            return
        for plugin in self.list.plugins:
            config = invocation.execution_config(self.list, self.version, plugin)
            await self._send(Command.STATUS, plugin, None, config)

    async def collect(self, live: Collection[str], known: Collection[Attachment] = ()) -> list[Attachment]:
        """Free what belongs to containers that are not `live`; gives what was freed.

        `known` are attachments found elsewhere (host-local's leases); the kept results are looked at as well.
        Plugins of 1.1 are then told which attachments are valid (GC). A failure is logged, and the next call
        tries again.
        """
        kept = {_key(one.attachment): one.attachment for one in self._results.all()}
        every = {**{_key(one): one for one in known}, **kept}
        stale = [one for one in every.values() if one.container_id not in live]
        freed = []
        for attachment in stale:
            # The namespace went with the pod; a path that was used again by another pod must not be touched.
            gone = Attachment(attachment.container_id, attachment.interface)
            try:
                await self.delete(gone)
                freed.append(attachment)
            except (PluginError, InvalidObject, OSError) as error:
                container = attachment.container_id
                log.warning("Cannot free an address", network=self.list.name, container=container, err=error)
        if invocation.may_collect(self.list, self.version):
            valid = [one for one in every.values() if one.container_id in live]
            for plugin in self.list.plugins:
                config = invocation.collection_config(self.list, self.version, plugin, valid)
                try:
                    await self._send(Command.GC, plugin, None, config)
                except PluginError as error:
                    log.warning("Cannot collect", network=self.list.name, err=error)
        return freed

    async def _undo(self, attachment: Attachment) -> None:
        try:
            await self.delete(attachment)
        except (PluginError, OSError) as error:
            log.warning("Cannot undo a failed attachment", network=self.list.name, err=error)

    async def _call(
        self, command: Command, plugin: Plugin, attachment: Attachment, previous: Json | None
    ) -> Json:
        config = invocation.execution_config(self.list, self.version, plugin, attachment, previous)
        return await self._send(command, plugin, attachment, config)

    async def _send(
        self, command: Command, plugin: Plugin, attachment: Attachment | None, config: Json
    ) -> Json:
        variables = invocation.environment(command, attachment, self._runner.path)
        answer = await self._runner.call(plugin.type, variables, invocation.encode(config))
        try:
            return invocation.read_answer(plugin.type, command, answer.code, answer.output)
        except PluginError as error:
            if answer.errors and error.code == 999:
                raise PluginError(
                    plugin.type, command.value, 999, f"{error.text}; {answer.errors}"
                ) from error
            raise


def _key(attachment: Attachment) -> tuple[str, str]:
    return attachment.container_id, attachment.interface
