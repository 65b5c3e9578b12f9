"""Removes hallucinations: text that Whisper writes although nobody said it. Pure.

Text is removed only on two kinds of evidence at once, because people do repeat themselves and do say thanks.

The known phrases are subtitles that stood under silence and music in Whisper's training data. For each, users report
that Whisper wrote it on silence or noise: openai/whisper discussions 679, 928 and 2015, SYSTRAN/faster-whisper 949,
speaches-ai/speaches 133, Vexa-ai/vexa 155 and 617, zachlatta/freeflow 111, amicalhq/amical 71, EdF2021/ithaka 96,
ufal/whisper_streaming 179 (GitHub), and the filters of programs that use Whisper, such as JSchmie/ScrAIbe's
`hallucinations.py`. Why a list helps, and that the same few phrases recur: Baranski et al., "Investigation of Whisper
ASR Hallucinations Induced by Non-Speech Audio", arXiv:2501.11378.
"""
# ruff: noqa: RUF001 - the phrases are in many scripts

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from processors.stt.core import MAX_NO_SPEECH_PROBABILITY, MIN_LOG_PROBABILITY, DecodedSegment, DecodeResult
from processors.stt.filters.loops import remove_loops
from processors.stt.filters.speech import CERTAIN_SPEECH, DOUBTFUL_SPEECH

Kind = Literal["credit", "outro"]

LOW_LOG_PROBABILITY = -0.7
"""Mean log-probability below which a text is not believed where other things speak against it, too."""

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
    "Untertitelung aufgrund der Amara.org-Community",
    "Ondertitels ingediend door de Amara.org gemeenschap",
    "Ondertiteld door de Amara.org gemeenschap",
    "Ondertiteling door de Amara.org gemeenschap",
    "TV Gelderland *",
    "Sous-titres réalisés par la communauté d'Amara.org",
    "Sous-titres réalisés para la communauté d'Amara.org",
    "Sous-titres par la communauté d'Amara.org",
    "Sous-titres par Amara.org",
    "Sous-titrage Société Radio-Canada",
    "Sous-titrage ST' 501",
    "Sottotitoli creati dalla comunità Amara.org",
    "Sottotitoli e revisione a cura di QTSS",
    "Sottotitoli a cura di QTSS",
    "Subtítulos realizados por la comunidad de Amara.org",
    "Subtítulos por la comunidad de Amara.org",
    "Subtitulado por la comunidad de Amara.org",
    "Subtítulos creados por la comunidad de Amara.org",
    "Más información www.alimmenta.com",
    "Legendas pela comunidade Amara.org",
    "Legendas pela comunidade das Amara.org",
    "Legendas pela comunidade de Amara.org",
    "Legendas pela comunidade do Amara.org",
    "Napisy stworzone przez społeczność Amara.org",
    "Napisy wykonane przez społeczność Amara.org",
    "Субтитры сделал DimaTorzok",
    "Субтитры создавал DimaTorzok",
    "Субтитры и перевод сделал DimaTorzok",
    "Редактор субтитров А.Синецкая Корректор А.Егорова",
    "Altyazı M.K.",
    "Bu dizinin betimlemesi TRT tarafından Sesli Betimleme Derneği'ne yaptırılmıştır",
    "ترجمة نانسي قنقر",
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
    "字幕由 Amara.org 社区提供",
    "中文字幕由 Amara.org 社区提供",
    "优优独播剧场——YoYo Television Series Exclusive",
)
"""Credits of subtitlers and broadcasters, which nobody says in a meeting. `*`: a name or a year."""

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
    "谢谢",
    "Vielen Dank",
    "Danke",
    "Vielen Dank fürs Zuschauen",
    "Danke fürs Zuschauen",
    "Bis zum nächsten Mal",
    "Bedankt",
    "Bedankt voor het kijken",
    "Tot de volgende keer",
    "Merci",
    "Merci beaucoup",
    "Merci à tous",
    "Merci d'avoir regardé",
    "Merci d'avoir regardé la vidéo",
    "Merci d'avoir regardé cette vidéo",
    "Gracias",
    "Muchas gracias",
    "Gracias por ver",
    "Gracias por ver este video",
    "Muchas gracias por ver el video",
    "Gracias por ver el video",
    "¡Suscríbete al canal!",
    "¡Suscríbete!",
    "No olvides suscribirte",
    "Hasta la próxima",
    "Obrigado",
    "Obrigada",
    "Muito obrigado",
    "Muito obrigada",
    "Obrigado por assistir",
    "Obrigada por assistir",
    "Obrigado por assistirem",
    "Muito obrigado por assistir",
    "Inscreva-se no canal",
    "Até a próxima",
    "Grazie",
    "Grazie a tutti",
    "Grazie mille",
    "Grazie per l'attenzione",
    "Grazie per la visione",
    "Grazie per aver guardato",
    "Grazie per aver guardato il video",
    "Grazie per aver guardato questo video",
    "Grazie per aver visto il video",
    "Grazie a tutti per aver guardato il video",
    "Grazie a tutti per la visione",
    "Iscriviti al canale",
    "Terima kasih",
    "Terima kasih kerana menonton",
    "Terima kasih kerana menonton video ini",
    "Terima kasih telah menonton",
    "Terima kasih sudah menonton",
    "Jangan lupa like dan subscribe",
    "Dziękuję za oglądanie",
    "Dziękuję za obejrzenie",
    "Продолжение следует",
    "Спасибо за просмотр",
    "Спасибо за внимание",
    "Abone olmayı unutmayın",
    "İzlediğiniz için teşekkür ederim",
    "İzlediğiniz için teşekkürler",
    "Bu videoyu izlediğiniz için teşekkürler",
    "شكرا للمشاهدة",
    "شكرا على المشاهدة",
    "ขอบคุณ",
    "Hãy subscribe cho kênh Ghiền Mì Gõ Để không bỏ lỡ những video hấp dẫn",
)
"""Endings of videos. People do say some of these."""


def remove_hallucinations(result: DecodeResult, seconds: float, speech: float) -> DecodeResult:
    """The result without text that nobody said; `decoding["removed"]` lists the reasons if there was any.

    seconds: length of the utterance. speech: its `speech_score`.
    """
    segments = remove_loops(result.segments, seconds)
    removed: list[str] = ["loop"] if segments != result.segments else []
    reason = hallucination_reason(segments, speech, result.no_speech_probability)
    if reason is None and removed and _both_doubt(speech, result.no_speech_probability):
        reason = "unlikely"  # what a loop in a noise began with was not said either
    if reason is not None:
        segments, removed = (), [*removed, reason]
    if not removed:
        return result
    return replace(result, segments=segments, decoding={**result.decoding, "removed": removed})


@dataclass(frozen=True)
class _Limits:
    """Evidence that a known phrase was not said: one value beyond its limit is enough."""

    min_speech: float
    max_no_speech: float
    min_log_probability: float


_LIMITS = {
    "outro": _Limits(DOUBTFUL_SPEECH, MAX_NO_SPEECH_PROBABILITY, MIN_LOG_PROBABILITY),
    "credit": _Limits(CERTAIN_SPEECH, 0.3, LOW_LOG_PROBABILITY),
}
"""Stricter for credits: models have learnt them by heart and are sure of them, and nobody says them."""


def hallucination_reason(
    segments: Sequence[DecodedSegment], speech: float, no_speech_probability: float
) -> Literal["unlikely", "phrase"] | None:
    """Why the whole text of an utterance must be a hallucination; None: it is believed.

    "unlikely": there is hardly any speech, and the model itself finds the text improbable. This is Whisper's own rule
    for silence, with the speech detector in place of Whisper's no-speech probability, which is near 0 for many sounds.
    Or detector and model both doubt that somebody speaks, and the text is not probable either: whisper-base counts
    "1-2-3" to footsteps.
    "phrase": Whisper is known to hallucinate this phrase, and the evidence for it is weak. A known phrase alone is not
    enough, because people do say "Thank you".
    """
    log_probability = _mean_log_probability(segments)
    if segments and speech < DOUBTFUL_SPEECH and log_probability < MIN_LOG_PROBABILITY:
        return "unlikely"
    if segments and _both_doubt(speech, no_speech_probability) and log_probability < LOW_LOG_PROBABILITY:
        return "unlikely"
    kind = known_phrase("".join(segment.text for segment in segments))
    if kind is None:
        return None
    limits = _LIMITS[kind]
    is_weak = (
        speech < limits.min_speech
        or no_speech_probability > limits.max_no_speech
        or log_probability < limits.min_log_probability
    )
    return "phrase" if is_weak else None


def _both_doubt(speech: float, no_speech_probability: float) -> bool:
    """Whether neither the speech detector nor the model is sure that somebody speaks."""
    return speech < CERTAIN_SPEECH and no_speech_probability > MAX_NO_SPEECH_PROBABILITY


def _mean_log_probability(segments: Sequence[DecodedSegment]) -> float:
    """The mean over all tokens; 0 if there are none."""
    tokens = sum(segment.tokens for segment in segments)
    return sum(s.mean_log_probability * s.tokens for s in segments) / tokens if tokens else 0.0


def known_phrase(text: str) -> Kind | None:
    """Whether a text consists of known phrases only; case, accents, spaces and punctuation do not matter.

    "credit": all of them are credits. "outro": at least one is a phrase that a person could have said.
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
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    return "".join(char for char in unicodedata.normalize("NFKC", bare) if unicodedata.category(char)[0] in "LMN")


def _expression(phrase: str) -> str:
    return r"\w{0,12}".join(re.escape(_letters(part)) for part in phrase.split("*"))


_ACCENTS = re.compile("[\u0300-\u036f]")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n")
_CREDITS = re.compile("|".join(map(_expression, CREDITS)))
_OUTROS = frozenset(map(_letters, OUTROS))
