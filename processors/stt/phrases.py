"""What Whisper writes where nobody speaks, because such subtitles stood under silence and music when it was trained.

Each phrase is reported as heard on silence or noise by users: in openai/whisper discussions 679 and 2015,
SYSTRAN/faster-whisper 949, speaches-ai/speaches 133, Vexa-ai/vexa 617, zachlatta/freeflow 111, amicalhq/amical 71,
EdF2021/ithaka 96, ufal/whisper_streaming 179 (GitHub); why a list helps, and that the same few come back again and
again: Baranski et al., Investigation of Whisper ASR Hallucinations Induced by Non-Speech Audio, arXiv:2501.11378.
"""
# ruff: noqa: RUF001 - other scripts are the matter of this file

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Kind = Literal["credit", "outro"]

CREDITS = (
    "Subtitles by the Amara.org community",
    "Translated by Amara.org community",
    "Transcribed by https://otter.ai",
    "Transcription by CastingWords",
    "www.mooji.org",
    "Untertitel der Amara.org-Community",
    "Untertitel im Auftrag des ZDF *",
    "Untertitel im Auftrag des ZDF für funk *",
    "Untertitelung im Auftrag des ZDF *",
    "Untertitelung des ZDF *",
    "Untertitel von Stephanie Geiges",
    "Copyright WDR *",
    "Ondertitels ingediend door de Amara.org gemeenschap",
    "Ondertiteld door de Amara.org gemeenschap",
    "Sous-titres réalisés par la communauté d'Amara.org",
    "Sous-titres réalisés para la communauté d'Amara.org",
    "Sous-titrage Société Radio-Canada",
    "Sous-titrage ST' 501",
    "Sottotitoli creati dalla comunità Amara.org",
    "Sottotitoli e revisione a cura di QTSS",
    "Sottotitoli a cura di QTSS",
    "Subtítulos realizados por la comunidad de Amara.org",
    "Subtítulos por la comunidad de Amara.org",
    "Subtitulado por la comunidad de Amara.org",
    "Legendas pela comunidade Amara.org",
    "Legendas pela comunidade das Amara.org",
    "Napisy stworzone przez społeczność Amara.org",
    "Субтитры сделал DimaTorzok",
    "Субтитры создавал DimaTorzok",
    "Субтитры и перевод сделал DimaTorzok",
    "Редактор субтитров А.Синецкая Корректор А.Егорова",
    "Altyazı M.K.",
    "MBC 뉴스 *입니다",
    "KBS 뉴스 *입니다",
    "SBS 뉴스 *입니다",
    "한글자막 by *",
    "자막 제공 *",
    "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    "請不吝點贊 訂閱 轉發 打賞支持明鏡與點點欄目",
    "中文字幕志愿者 *",
    "字幕志愿者 *",
    "字幕 by *",
    "由 Amara.org 社群提供的字幕",
    "中文字幕由 Amara.org 社区提供",
    "优优独播剧场——YoYo Television Series Exclusive",
)
"""Credits of subtitles and of broadcasters, which nobody says in a meeting. `*`: a name or a year."""

OUTROS = (
    "Thank you",
    "Thank you so much",
    "Thank you very much",
    "Thank you for watching",
    "Thank you so much for watching",
    "Thanks",
    "Thanks for watching",
    "Thanks for watching and I'll see you next time",
    "Thanks for watching and I'll see you in the next video",
    "Please subscribe",
    "Please like and subscribe",
    "Please subscribe to my channel",
    "Don't forget to subscribe",
    "See you next time",
    "See you in the next video",
    "I'll see you in the next video",
    "You",
    "Bye",
    "시청해 주셔서 감사합니다",
    "끝까지 시청해 주셔서 감사합니다",
    "오늘도 시청해 주셔서 감사합니다",
    "오늘 영상은 여기까지입니다",
    "감사합니다",
    "고맙습니다",
    "구독과 좋아요 부탁드립니다",
    "다음 영상에서 만나요",
    "ご視聴ありがとうございました",
    "最後までご視聴いただきありがとうございました",
    "ありがとうございました",
    "次の動画でお会いしましょう",
    "次回もお楽しみに",
    "チャンネル登録お願いします",
    "チャンネル登録をお願いいたします",
    "おやすみなさい",
    "谢谢观看",
    "感谢观看",
    "谢谢大家",
    "Vielen Dank",
    "Vielen Dank fürs Zuschauen",
    "Bis zum nächsten Mal",
    "Merci",
    "Merci d'avoir regardé cette vidéo",
    "Gracias",
    "Gracias por ver el video",
    "¡Suscríbete al canal!",
    "Obrigado",
    "Obrigado por assistir",
    "Grazie",
    "Grazie a tutti",
    "Продолжение следует",
    "Спасибо за просмотр",
    "Спасибо за внимание",
    "Abone olmayı unutmayın",
    "İzlediğiniz için teşekkür ederim",
)
"""The ends of videos. People do say some of these."""


def known_phrase(text: str) -> Kind | None:
    """Whether a whole text is one of the phrases, or several sentences of them; case, spaces and punctuation aside.

    "credit": nothing but credits. "outro": there is at least one phrase that a person could have said.
    """
    sentences = filter(None, map(_letters, _BETWEEN_SENTENCES.split(text)))
    kinds = {_kind(letters) for letters in sentences}
    if not kinds or None in kinds:
        return None
    return "outro" if "outro" in kinds else "credit"


def _kind(letters: str) -> Kind | None:
    if letters in _OUTROS:
        return "outro"
    return "credit" if _CREDITS.fullmatch(letters) else None


def _letters(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] in "LMN")


def _expression(phrase: str) -> str:
    return r"\w{0,12}".join(re.escape(_letters(part)) for part in phrase.split("*"))


_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n")
_CREDITS = re.compile("|".join(map(_expression, CREDITS)))
_OUTROS = frozenset(map(_letters, OUTROS))
